package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// providerReport is what is said of one provider.
type providerReport struct {
	Provider       string   `json:"provider"`
	TokensAdmitted int64    `json:"tokens_admitted"`
	Upstream429    int64    `json:"upstream_429"`
	PeakTokens     int64    `json:"peak_tokens"`
	Stretches      int      `json:"stretches"`
	WaitedS        float64  `json:"waited_s"`
	Used           *float64 `json:"used,omitempty"` // absent when nobody waited

	slots []flowSlot
}

// addProviders takes in what was measured at each provider, and sums it up.
func (r *runReport) addProviders(list []providerResults, p *plan) {
	var used, could float64
	for i, one := range list {
		pp, u := p.providers[i], one.usage
		rep := &providerReport{Provider: pp.name, TokensAdmitted: u.Admitted, Stretches: u.Stretches, WaitedS: u.Waited.Seconds()}
		rep.slots, rep.PeakTokens = one.flow.read()
		for _, s := range rep.slots {
			rep.Upstream429 += s.turnedAway
		}
		if share, ok := u.share(pp.mock.amount, p.per); ok {
			rep.Used = &share
			used += float64(u.Used)
			could += capacity(pp.mock.amount, p.per, u.Waited)
		}
		r.Providers = append(r.Providers, rep)
		r.TokensAdmitted += rep.TokensAdmitted
		r.Stretches += rep.Stretches
		r.WaitedS += rep.WaitedS
		r.PeakTokens = max(r.PeakTokens, rep.PeakTokens)
	}
	if could > 0 {
		share := used / could
		r.Used = &share
	}
}

// writeUse says how much of the provider's capacity was used.
func (r *runReport) writeUse(w io.Writer) {
	defer r.writeProviders(w)
	fmt.Fprintf(w, "the provider admitted %d tokens in %.1f s; at most %d reached it at once\n", r.TokensAdmitted, r.ElapsedS, r.PeakTokens)
	if r.Used == nil {
		fmt.Fprintln(w, "nobody waited")
		return
	}
	summed := ""
	if len(r.Providers) > 1 {
		summed = ", summed over providers"
	}
	fmt.Fprintf(w, "clients waited for %.1f s, in %d stretches; %.2f %% of the capacity was used then%s\n", r.WaitedS, r.Stretches, 100**r.Used, summed)
	if r.Attainable != nil {
		fmt.Fprintf(w, "the policy lets %.2f %% through, of which %.2f %% were used\n", 100**r.Attainable, 100**r.UsedOf)
	}
}

// writeProviders says the same of each provider, where there are several.
func (r *runReport) writeProviders(w io.Writer) {
	if len(r.Providers) < 2 {
		return
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "provider\tadmitted, tokens\tupstream 429s\tmost at once\twaited, s\tcapacity used\t")
	for _, p := range r.Providers {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%.1f\t%s\t\n", p.Provider, p.TokensAdmitted, p.Upstream429, p.PeakTokens, p.WaitedS, usedText(p.Used))
	}
	t.Flush()
}

// usedText is a share of the capacity.
func usedText(share *float64) string {
	if share == nil {
		return "nobody waited"
	}
	return fmt.Sprintf("%.2f %%", 100**share)
}
