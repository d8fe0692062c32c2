package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/policyfile"
)

// exporter writes what a permitd has as a policy file.
type exporter struct {
	*remote
	file *policyfile.Writer
	note io.Writer // takes what a file can't say
}

func (c *exportCommand) run(ctx context.Context, given settings, stdout, stderr io.Writer) int {
	r, err := c.open(given, "viewer or operator")
	for _, name := range c.Provider {
		if err == nil && !limiter.ValidName(name) {
			err = fmt.Errorf("%q can't name a provider: a name is 1 to 64 of a-z 0-9 . _ -, the first a letter or digit", name)
		}
	}
	if err != nil {
		return complain(stderr, err)
	}
	defer r.close()
	out := bufio.NewWriter(stdout)
	x := &exporter{remote: r, file: policyfile.NewWriter(out), note: stderr}
	err = x.export(ctx, c.Provider)
	if err == nil {
		err = errors.Join(x.file.Close(), out.Flush())
	}
	if err != nil {
		out.Flush() // what there is shows how far it went
		return failed(stderr, fmt.Errorf("%w; what was written is not whole", err))
	}
	if size := x.file.Size(); size > policyfile.MaxSize {
		fmt.Fprintf(stderr, "permitd: the file has %d MiB, and check, apply and --policies read at most %d: export fewer providers at a time, or keep keys over HTTP only\n",
			size>>20, policyfile.MaxSize>>20)
	}
	return exitOK
}

// export writes the named providers, all when there are none.
func (x *exporter) export(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return x.each(ctx, "/v1/providers", policyPage, func(d document) error { return x.provider(ctx, d) })
	}
	written := map[string]bool{}
	for _, name := range names {
		if written[name] {
			continue
		}
		written[name] = true
		d, err := x.read(ctx, providerPath(name))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if d.etag == "" {
			return fmt.Errorf("%s: %s has no such provider: check the name against GET /v1/providers", name, x.base)
		}
		if err := x.provider(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (x *exporter) provider(ctx context.Context, d document) error {
	policy, err := limiter.ParsePolicy(d.Policy)
	if err != nil || !limiter.ValidName(d.Name) {
		return fmt.Errorf("%s: can't read its policy: use a permitd of the version that runs there", clean(d.Name))
	}
	if err := x.file.Provider(d.Name, policy); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	for _, kind := range []limiter.EntryKind{limiter.PoolEntry, limiter.KeyEntry} {
		err := x.each(ctx, listPath(d.Name, kind), entryPage, func(e document) error { return x.entry(d.Name, policy, kind, e) })
		if err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
	}
	return nil
}

// entry writes one entry. A key that was rotated has none of its own.
func (x *exporter) entry(provider string, policy *limiter.Policy, kind limiter.EntryKind, d document) error {
	if d.RotatedTo != "" {
		fmt.Fprintf(x.note, "permitd: %s: key %s is left out: it was rotated to %s, and a file can't say that it stands for it until %s\n",
			provider, clean(d.ID), clean(d.RotatedTo), clean(d.DisabledAt))
		return nil
	}
	e, clamped, dropped, err := limiter.FitEntry(kind, d.Entry, policy)
	if err != nil || kind == limiter.KeyEntry && !limiter.ValidKeyID(d.ID) || kind == limiter.PoolEntry && !limiter.ValidName(d.ID) {
		return fmt.Errorf("can't read the entry of %s %s: use a permitd of the version that runs there", kind, clean(d.ID))
	}
	if len(clamped) > 0 {
		fmt.Fprintf(x.note, "permitd: %s: %s %s: written as what is in force, because they no longer fit the policy: overrides of %s\n", provider, kind, d.ID, strings.Join(clamped, ", "))
	}
	if len(dropped) > 0 {
		fmt.Fprintf(x.note, "permitd: %s: %s %s: left out what has no effect under the policy: overrides of %s\n", provider, kind, d.ID, strings.Join(dropped, ", "))
	}
	if err := x.file.Entry(d.ID, e); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
