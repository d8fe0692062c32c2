package main

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"

	"github.com/go-analyze/charts"
)

// chart is a drawing, made for wide and narrow screens, in light and in dark.
type chart struct {
	names  []string    // of the series
	colors []int       // of the series, in the palette; nil: in order
	values [][]float64 // NaN is a gap
	labels []string    // of the x axis
	bars   bool
	ceil   float64 // where the y axis ends at least
	height int
	marks  []mark // of lines, in order
}

// mark is a number above a place on the x axis.
type mark struct{ at, number int }

// Colours that differ for most eyes, on white and on near-black: those of Okabe and Ito, and two more.
var palette = map[bool][]string{
	false: {"#0072b2", "#d55e00", "#009e73", "#b65a92", "#555555", "#a67c00", "#7b3294"},
	true:  {"#56b4e9", "#f0833a", "#2fc79b", "#dd9bc4", "#aaaaaa", "#e6c229", "#b39ddb"},
}

// Places in the palette.
const (
	blue   = 0
	red    = 1
	green  = 2
	purple = 3
	black  = 4
	ochre  = 5
	wine   = 6
)

// color of the i-th series is its place in the palette.
func (c *chart) color(i int) int {
	if c.colors != nil {
		i = c.colors[i]
	}
	return i % len(palette[false])
}

func (c *chart) theme(dark bool) charts.ColorPalette {
	ink, line := "#333333", "#dddddd"
	if dark {
		ink, line = "#cccccc", "#3a3a3a"
	}
	text := charts.ParseColor(ink)
	var series []charts.Color
	for i := range c.names {
		series = append(series, charts.ParseColor(palette[dark][c.color(i)]))
	}
	series = append(series, text.WithAlpha(110)) // of the marks, so that lines are seen through them
	return charts.MakeTheme(charts.ThemeOption{
		IsDarkMode: dark, AxisStrokeColor: charts.ParseColor(line), AxisSplitLineColor: charts.ParseColor(line),
		BackgroundColor: charts.ColorTransparent, TextColor: text, TextColorTitle: text, TextColorMark: text,
		TextColorLabel: text, TextColorLegend: text, TextColorXAxis: text, TextColorYAxis: text, SeriesColors: series,
	})
}

// Sizes in pixels. A narrow drawing fits a phone without being scaled.
const (
	wideChart   = 920
	narrowChart = 340
)

// draw is the SVG.
func (c *chart) draw(width int, dark bool) (template.HTML, error) {
	font := charts.FontStyle{FontSize: 11}
	x := charts.XAxisOption{Labels: c.labels, LabelFontStyle: font, LabelCount: timeLabels + 1}
	if width == narrowChart {
		x.LabelCount = timeLabels/2 + 1
	}
	y := charts.YAxisOption{LabelFontStyle: font, Min: charts.Ptr(0.0), ValueFormatter: short, LabelCount: 5, SplitLineShow: charts.Ptr(true)}
	if c.ceil > 0 {
		y.Max = charts.Ptr(c.ceil)
	}
	o := charts.ChartOption{
		OutputFormat: charts.ChartOutputSVG, Width: width, Height: c.height, Theme: c.theme(dark), Padding: charts.NewBox(4, 12, 14, 4),
		Legend: charts.LegendOption{SeriesNames: c.names, Show: charts.Ptr(false)}, // the page has one
		YAxis:  []charts.YAxisOption{y}, ValueFormatter: short,
	}
	if c.bars {
		x.LabelCount = len(c.labels)
		o.SeriesList = charts.NewSeriesListGeneric(c.values, charts.ChartTypeBar)
	} else {
		x.BoundaryGap = charts.Ptr(false)
		o.Symbol, o.LineStrokeWidth = charts.Symbol{Shape: charts.SymbolNone}, 1.6
		o.SeriesList = append(charts.NewSeriesListGeneric(c.lines(), charts.ChartTypeLine), c.markLines(width)...)
		if len(c.marks) > 0 {
			o.Padding.Top += 14 // for their numbers
			// A pixel or two, as a part of what each label has of the width.
			o.BarSize = min(1, 2.2*float64(len(c.labels))/float64(width))
		}
	}
	o.XAxis = x
	p, err := charts.Render(o)
	if err != nil {
		return "", fmt.Errorf("draw a chart: %w", err)
	}
	svg, err := p.Bytes()
	return template.HTML(svg), err // the library escapes all text
}

// lines are the values, with gaps as the library has them.
func (c *chart) lines() [][]float64 {
	lines := make([][]float64, len(c.values))
	for i, values := range c.values {
		lines[i] = slices.Clone(values)
		for at, v := range values {
			if math.IsNaN(v) {
				lines[i][at] = charts.GetNullValue()
			}
		}
	}
	return lines
}

// short writes a number with few letters: 1.5M.
func short(v float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= unit.size {
			return strconv.FormatFloat(v/unit.size, 'g', 3, 64) + unit.name
		}
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
