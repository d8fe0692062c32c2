package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/permitd/permitd/limiter"
)

// What is tuned just before a fault: a limit, for everybody and for one key.
const (
	tunedForAll = 777
	tunedForKey = 555
	tunedKey    = 1 // which key
)

// documents are what was tuned.
type documents struct {
	provider        string
	forAll, forKey  int64 // amounts that have to be in force
	revision, entry int64 // before
	lost, spared    bool  // the store has lost them; if spared, perhaps
}

// untuned is a provider as its file says.
func untuned(provider string) documents {
	return documents{provider: provider, forAll: 1e6, forKey: 1e6}
}

func (d *documents) path() string { return "/v1/providers/" + d.provider }

func (d *documents) keyPath() string { return d.path() + "/keys/" + limiter.KeyID(keyName(tunedKey)) }

// tune writes documents by way of two instances, and has all hear of them.
func tune(ctx context.Context, instances []*instance, provider string) (d documents, err error) {
	d = documents{provider: provider, forAll: tunedForAll, forKey: tunedForKey}
	change := func(amount int) string { return fmt.Sprintf(`{"limits":{"tuned":{"amount":%d}}}`, amount) }
	wrong := eventually(restTime, func() string { // a busy machine may need another try
		var policy, entry struct{ Revision int64 }
		err := instances[0].read(ctx, http.MethodPatch, d.path(), change(tunedForAll), &policy)
		if err == nil {
			err = instances[1].read(ctx, http.MethodPut, d.keyPath(), change(tunedForKey), &entry)
		}
		if err != nil {
			return err.Error()
		}
		d.revision, d.entry = policy.Revision, entry.Revision
		for n, i := range instances {
			if wrong := d.wrongAt(ctx, i); wrong != "" {
				return fmt.Sprintf("instance %d: %s", n+1, wrong)
			}
		}
		return ""
	})
	if wrong != "" {
		return d, errors.New("tune: " + wrong)
	}
	return d, nil
}

// wrongAt says what is wrong with the documents that an instance decides by: those that were lost have to have new revisions.
func (d *documents) wrongAt(ctx context.Context, i *instance) string {
	for key, want := range map[uint8]int64{tunedKey: d.forKey, tunedKey + 1: d.forAll} {
		var found decision
		ask := fmt.Sprintf(`{"provider":%q,"key":%q,"model":"tuned","dry_run":true}`, d.provider, keyName(key))
		status, text, err := i.call(ctx, http.MethodPost, "/v1/permits", ask)
		if err != nil || readDecision(status, text, &found) != nil {
			return fmt.Sprintf("a dry run is answered %d %s %v", status, text, err)
		}
		if found.Degraded {
			return "it is degraded"
		}
		if got := found.amount("tuned"); got != want {
			return fmt.Sprintf("of key %d the limit is %d, not %d", key, got, want)
		}
		if bad := d.wrongRevision(found.Revision, d.revision); bad != "" {
			return "policy: " + bad
		}
	}
	if d.entry == 0 {
		return ""
	}
	var entry struct{ Revision int64 }
	if err := i.read(ctx, http.MethodGet, d.keyPath(), "", &entry); err != nil {
		return err.Error()
	}
	if bad := d.wrongRevision(entry.Revision, d.entry); bad != "" {
		return "entry: " + bad
	}
	return ""
}

func (d *documents) wrongRevision(got, before int64) string {
	switch {
	case d.lost && got > before, (!d.lost || d.spared) && got == before, before == 0 && got > 0:
		return ""
	}
	return fmt.Sprintf("revision %d, and %d before", got, before)
}
