package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// restTime is how long it may take until all is charged and given back, after the load.
const restTime = 10 * time.Second

// eventually is "" once what is wrong no longer is, or what still was wrong at last.
func eventually(within time.Duration, wrong func() string) (last string) {
	for begin := time.Now(); time.Since(begin) < within; time.Sleep(100 * time.Millisecond) {
		if last = wrong(); last == "" {
			return ""
		}
	}
	return last
}

func (v *verdict) eventually(what string, within time.Duration, wrong func() string) {
	last := eventually(within, wrong)
	found := "so"
	if last != "" {
		found = last
	}
	v.check(last == "", what, "so", "%s", found)
}

// strange tells of answers of other kinds.
func (v *verdict) strange(found map[string]int) {
	for what, n := range found {
		v.check(false, "other answers", "none", "%d × %s", n, what)
	}
}

// aftermath checks what is left when all asks are answered and all holds are settled. charged says of which
// providers all that was granted to models of this era has to be charged.
func (v *verdict) aftermath(ctx context.Context, l *load, docs documents, charged func(provider int) bool) {
	for n, i := range l.instances {
		v.eventually(fmt.Sprintf("instance %d decides by what was tuned", n+1), restTime, func() string { return docs.wrongAt(ctx, i) })
	}
	for provider, name := range l.providers {
		at, held := l.instances[provider%numInstances], l.model(modelHeld)
		returned := restTime
		if docs.spared { // so may be what was lost last: that a hold is over
			returned += holdTTL
		}
		v.eventually(name+": no slots are left in use", returned, func() string {
			return usedWrong(ctx, at, name, held, "slots", 0, 0)
		})
		for _, model := range []string{l.model(modelPlain), held} {
			if charged(provider) {
				least, most := l.grantedOf(provider, model)
				v.eventually(name+": what was granted is charged, "+model, restTime, func() string {
					return usedWrong(ctx, at, name, model, "month", least, most)
				})
			}
		}
	}
}

// grantedOf is how much of a model was granted, and has to be charged: what is allowed whatever the limits are is not.
func (l *load) grantedOf(provider int, model string) (least, most int64) {
	for i := range l.answers {
		switch a := &l.answers[i]; {
		case int(a.provider) != provider || a.model != model:
		case a.kind == granted, a.kind == grantedHere && failModes[provider] != "allow":
			least, most = least+1, most+1
		case a.kind == grantedHere:
			most++
		}
	}
	return least, most
}

// usedWrong is "" if as much is used of a limit as has to be.
func usedWrong(ctx context.Context, i *instance, provider, model, limit string, least, most int64) string {
	var usage struct {
		Limits []struct {
			Name string
			Used int64
		}
	}
	if err := i.read(ctx, http.MethodGet, "/v1/providers/"+provider+"/usage?model="+model, "", &usage); err != nil {
		return err.Error()
	}
	for _, u := range usage.Limits {
		if u.Name == limit && u.Used >= least && u.Used <= most {
			return ""
		} else if u.Name == limit {
			return fmt.Sprintf("%d are used, not %d to %d", u.Used, least, most)
		}
	}
	return "usage has no limit " + limit
}
