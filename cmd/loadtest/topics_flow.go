package main

import "fmt"

// providersShown have charts of their own: those with most to do.
const providersShown = 6

// shown are those providers. note says whom it leaves out.
func (r *report) shown() (list []providerSettings, note string) {
	list = r.Settings.Providers
	if n := len(list); n > providersShown {
		list, note = list[:providersShown], fmt.Sprintf(" Shown are the %d of %d providers that are asked for most tokens.", providersShown, n)
	}
	return list, note
}

// titled is a title of a chart of one provider; of the only one it is not said.
func (r *report) titled(title string, p providerSettings) string {
	switch {
	case len(r.Settings.Providers) == 1:
		return title
	case title == "":
		return p.Name
	}
	return p.Name + ", " + title
}

// perSecond is the rate of a provider.
func (r *report) perSecond(p providerSettings) float64 {
	return float64(p.Amount) / r.Settings.per.Seconds()
}

func (r *report) arrived(t timeline) topic {
	shown, note := r.shown()
	top := topic{ID: "arrived", Title: "What reached the provider",
		Text: "Tokens per second that arrived at the provider, and its capacity. Mind the scales. What arrives above the capacity is either taken from its burst or refused." + note}
	seconds := t.piece.Seconds()
	for n, p := range shown {
		for i, run := range r.Runs {
			all := t.series(n, i, func(s flowSlot) float64 { return float64(s.admitted+s.refused) / seconds })
			admitted := t.series(n, i, func(s flowSlot) float64 { return float64(s.admitted) / seconds })
			c := chart{names: []string{"arrived", "admitted", "capacity"}, colors: []int{red, blue, black}, values: [][]float64{all, admitted, t.level(r.perSecond(p))}, labels: t.labels, height: 210, marks: t.marks(r.eventsOf(run.Strategy))}
			// Those that keep to the capacity have the same scale, and are not flattened by one that does not.
			c.ceil = niceCeil(max(ceilOf(c.values), 2.5*r.perSecond(p)))
			top.Charts = append(top.Charts, titledChart{Title: r.titled(run.Strategy, p), chart: c})
		}
	}
	return top
}

func (r *report) refused(t timeline) topic {
	c := chart{names: r.names(), labels: t.labels, height: 240}
	for i := range r.Runs {
		sum := t.level(0)
		for n := range t.flows {
			for at, v := range t.series(n, i, func(s flowSlot) float64 { return float64(s.turnedAway) / t.piece.Seconds() }) {
				sum[at] += v
			}
		}
		c.values = append(c.values, sum)
	}
	c.ceil = ceilOf(c.values)
	return topic{ID: "refused", Title: "Upstream 429s", Text: "Calls per second that the provider refused.", Charts: []titledChart{{chart: c}}}
}

// bound shows how far what was admitted is ahead of the rate, and the most that burst + rate · w allows.
func (r *report) bound(t timeline) topic {
	shown, note := r.shown()
	top := topic{ID: "bound", Title: "Admitted, and the bound",
		Text: "In any time w the provider admits at most burst + rate · w. Drawn is how many tokens it had admitted beyond rate · w, for the worst w that ends then; the bound is its burst. A line at the bound means that the provider had nothing left to give." + note}
	for n, p := range shown {
		c := chart{names: append(r.names(), "bound"), labels: t.labels, height: 260}
		for i := range r.Runs {
			c.values = append(c.values, t.series(n, i, func(s flowSlot) float64 { return float64(s.ahead) }))
			c.colors = append(c.colors, i)
		}
		c.colors = append(c.colors, black)
		c.values = append(c.values, t.level(float64(p.bound)))
		c.ceil = ceilOf(c.values)
		top.Charts = append(top.Charts, titledChart{Title: r.titled("", p), chart: c})
	}
	return top
}

// use shows how well each provider was used.
func (r *report) use() topic {
	shown, note := r.shown()
	c := chart{names: r.names(), bars: true, height: 240}
	for _, p := range shown {
		c.labels = append(c.labels, p.Name)
	}
	for _, run := range r.Runs {
		values := make([]float64, len(shown))
		for i := range shown {
			if share := run.Providers[i].Used; share != nil {
				values[i] = 100 * *share
			}
		}
		c.values = append(c.values, values)
	}
	c.ceil = ceilOf(c.values)
	return topic{ID: "use", Title: "Capacity used, by provider",
		Text: "Percent of a provider's capacity that was used while clients waited for it; nothing where nobody did." + note, Charts: []titledChart{{chart: c}}}
}
