package main

import (
	"fmt"
	"slices"

	"github.com/go-analyze/charts"
)

// markLines are the marks as bars that are as high as the chart and thin, each with its number above. The library draws
// marks of its own only at a series' extremes.
func (c *chart) markLines(width int) charts.GenericSeriesList {
	if len(c.marks) == 0 {
		return nil
	}
	bars := slices.Repeat([]float64{charts.GetNullValue()}, len(c.labels))
	for _, m := range c.marks {
		bars[m.at] = c.ceil
	}
	numbers := c.markNumbers(width)
	list := charts.NewSeriesListGeneric([][]float64{bars}, charts.ChartTypeBar)
	// The library asks once for each bar, from left to right.
	list[0].Label = charts.SeriesLabel{Show: charts.Ptr(true), FontStyle: charts.FontStyle{FontSize: 10}, LabelFormatter: func(int, string, float64) (string, *charts.LabelStyle) {
		number := numbers[0]
		numbers = numbers[1:]
		return number, nil
	}}
	return list
}

// markNumbers are the texts above the bars. Where the next bars are too near for a text of their own, the one before has
// theirs too: "2–4".
func (c *chart) markNumbers(width int) []string {
	const room = 26 // pixels that a text takes
	var numbers []string
	for i := 0; i < len(c.marks); {
		first, last := c.marks[i], c.marks[i]
		var hidden int
		for i++; i < len(c.marks) && (c.marks[i].at-first.at)*width < room*len(c.labels); i++ {
			if c.marks[i].at != last.at {
				hidden++
			}
			last = c.marks[i]
		}
		text := fmt.Sprint(first.number)
		if last != first {
			text += "–" + fmt.Sprint(last.number)
		}
		numbers = append(numbers, text)
		numbers = append(numbers, slices.Repeat([]string{""}, hidden)...)
	}
	return numbers
}
