package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/limiter"
)

// Load implements [limiter.Store].
func (s *Store) Load(ctx context.Context, id limiter.DocID) (limiter.Record, error) {
	stored, err := s.command(ctx, s.docs, id.Provider, 1, "get", s.keys.document(id))
	if err != nil && !errors.Is(err, redis.Nil) {
		return limiter.Record{}, s.failed(ctx, err)
	}
	text, _ := stored.(string)
	return s.read(text)
}

// Swap implements [limiter.Store]. A call whose reply is lost is sent again: one that was carried out is known by the
// tag of the document it wrote.
func (s *Store) Swap(ctx context.Context, id limiter.DocID, prev string, next limiter.Record) (limiter.Record, error) {
	rest, err := encodeRecord(next)
	if err != nil {
		return limiter.Record{}, err
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	keys, args := []string{s.keys.document(id), s.keys.names(id.Provider, id.Kind)}, []any{prev, next.Tag, rest, "", id.Name}
	switch {
	case id.Kind != "" && next.Blank():
		args[2] = ""
	case id.Kind == "":
		if prev == "" { // before the policy, so that no policy is ever missing in the list
			if _, err := s.command(ctx, s.docs, id.Provider, 1, "sadd", s.keys.providers(), id.Provider); err != nil {
				return limiter.Record{}, s.failed(ctx, err)
			}
		}
		item, err := encodeRecord(limiter.Record{Revision: next.Revision, By: next.By, Note: next.Note, Body: next.Body})
		if err != nil {
			return limiter.Record{}, err
		}
		keys[1] = s.keys.history(id.Provider)
		args = append(args[:3], item, next.Size(), limiter.HistoryLength, limiter.HistorySize)
	}
	return s.swapped(ctx, id.Provider, s.scripts.swap, keys, args...)
}

// SwapAll implements [limiter.Store].
func (s *Store) SwapAll(ctx context.Context, writes []limiter.Write) (limiter.Record, error) {
	ctx, cancel := patient(ctx)
	defer cancel()
	id := writes[0].ID
	keys, args := []string{s.keys.names(id.Provider, id.Kind)}, []any{}
	for _, w := range writes {
		rest, err := encodeRecord(w.Next)
		if err != nil {
			return limiter.Record{}, err
		}
		keys, args = append(keys, s.keys.document(w.ID)), append(args, w.Prev, w.Next.Tag, rest, w.ID.Name)
	}
	return s.swapped(ctx, id.Provider, s.scripts.swapAll, keys, args...)
}

// swapped runs a script that writes documents.
func (s *Store) swapped(ctx context.Context, provider string, of script, keys []string, args ...any) (limiter.Record, error) {
	result, err := s.again(ctx, s.docs, provider, of, keys, args...)
	if err != nil {
		return limiter.Record{}, s.failed(ctx, err)
	}
	parts, ok := result.([]any)
	if !ok || len(parts) != 2 {
		return limiter.Record{}, s.failed(ctx, errReply)
	}
	text, _ := parts[1].(string)
	r, err := s.read(text)
	if err == nil && parts[0] != int64(1) {
		err = limiter.ErrConflict
	}
	return r, err
}

// History implements [limiter.Store].
func (s *Store) History(ctx context.Context, provider string, before int64, n int) (
	records []limiter.Record, oldest int64, err error,
) {
	list := []string{s.keys.history(provider)}
	result, err := s.again(ctx, s.reads, provider, s.scripts.history, list, before, n, limiter.PieceSize)
	if err != nil {
		return nil, 0, s.failed(ctx, err)
	}
	items := texts(result)
	if len(items) == 0 {
		return nil, 0, s.failed(ctx, errReply)
	}
	if oldest, err = strconv.ParseInt(items[0], 10, 64); err != nil {
		return nil, 0, s.failed(ctx, errReply)
	}
	for _, text := range items[1:] {
		r, err := s.read(text)
		if err != nil {
			return nil, 0, err
		}
		r.Tag = "" // in its place there is what the history has in bytes
		records = append(records, r)
	}
	return records, oldest, nil
}

// maxList is how many entries are read at once.
const maxList = 128

// List implements [limiter.Store].
func (s *Store) List(ctx context.Context, provider string, kind limiter.EntryKind, after string, n int) ([]limiter.NamedRecord, error) {
	names, docs, err := s.page(ctx, provider, kind, after, min(n, maxList))
	if err != nil || len(names) == 0 {
		return nil, err
	}
	result, err := s.again(ctx, s.reads, provider, s.scripts.list, docs, limiter.PieceSize)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	stored := texts(result)
	if len(stored) == 0 || len(stored) > len(names) {
		return nil, s.failed(ctx, errReply)
	}
	records := make([]limiter.NamedRecord, 0, len(stored))
	for i, text := range stored {
		r, err := s.read(text)
		if err != nil {
			return nil, err
		}
		records = append(records, limiter.NamedRecord{Name: names[i], Record: r})
	}
	return records, nil
}

// page is some names of entries, and their keys.
func (s *Store) page(ctx context.Context, provider string, kind limiter.EntryKind, after string, n int) (names, docs []string, err error) {
	least := "-"
	if after != "" {
		least = "(" + after
	}
	set := s.keys.names(provider, kind)
	result, err := s.command(ctx, s.reads, provider, 1, "zrangebylex", set, least, "+", "limit", 0, n)
	if err != nil {
		return nil, nil, s.failed(ctx, err)
	}
	names = texts(result)
	for _, name := range names {
		docs = append(docs, s.keys.document(limiter.DocID{Provider: provider, Kind: kind, Name: name}))
	}
	return names, docs, nil
}

// Clear implements [limiter.Store].
func (s *Store) Clear(ctx context.Context, provider string, revision int64) error {
	ctx, cancel := patient(ctx)
	defer cancel()
	for _, kind := range []limiter.EntryKind{limiter.KeyEntry, limiter.PoolEntry} {
		for after := ""; ; {
			names, docs, err := s.page(ctx, provider, kind, after, maxList)
			if err != nil {
				return err
			}
			if len(names) == 0 {
				break
			}
			args := []any{revision}
			for _, name := range names {
				args = append(args, name)
			}
			keys := append([]string{s.keys.names(provider, kind)}, docs...)
			if _, err := s.again(ctx, s.docs, provider, s.scripts.clear, keys, args...); err != nil {
				return s.failed(ctx, err)
			}
			after = names[len(names)-1]
		}
	}
	return nil
}

// Instances implements [limiter.Store].
func (s *Store) Instances(ctx context.Context, self *limiter.Instance) ([]limiter.Instance, error) {
	id, text := "", []byte(nil)
	if self != nil {
		id = self.ID
		var err error
		if text, err = json.Marshal(self); err != nil {
			return nil, err
		}
	}
	instances := []limiter.Instance{}
	for after := ""; ; id = "" {
		result, err := s.again(ctx, s.docs, "", s.scripts.instances, []string{s.keys.instances()},
			id, text, limiter.InstanceLife.Microseconds(), after, limiter.PieceSize)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		piece := texts(result)
		if len(piece) == 0 {
			return nil, s.failed(ctx, errReply)
		}
		for _, text := range piece[1:] {
			var i limiter.Instance
			if err := json.Unmarshal([]byte(text), &i); err != nil {
				return nil, unavailable(fmt.Errorf("an instance can't be read: %w", err))
			}
			instances = append(instances, i)
		}
		if after = piece[0]; after == "" {
			if self != nil && s.memory.due() {
				s.lookAtMemory(ctx)
			}
			return instances, nil
		}
	}
}

// Providers implements [limiter.Store].
func (s *Store) Providers(ctx context.Context) ([]string, error) {
	all, err := s.command(ctx, s.docs, "", 1, "smembers", s.keys.providers())
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	names := texts(all)
	slices.Sort(names)
	return names, nil
}

// texts are the elements of an answer that is a list or set of texts.
func texts(result any) []string {
	elements, _ := result.([]any)
	all := make([]string, 0, len(elements))
	for _, e := range elements {
		text, _ := e.(string)
		all = append(all, text)
	}
	return all
}

func (s *Store) read(text string) (limiter.Record, error) {
	r, err := decodeRecord(text)
	if err != nil {
		return limiter.Record{}, unavailable(err)
	}
	return r, nil
}
