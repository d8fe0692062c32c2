package main

import (
	"fmt"
	"html/template"
	"strconv"

	"github.com/go-analyze/charts"
)

// chart is a drawing, made for wide and narrow screens, in light and in dark.
type chart struct {
	names  []string // of the series
	colors []int    // of the series, in the palette; nil: in order
	values [][]float64
	labels []string // of the x axis
	bars   bool
	ceil   float64 // where the y axis ends at least
	height int
}

// Colours that differ for most eyes, on white and on near-black: those of Okabe and Ito.
var palette = map[bool][]string{
	false: {"#0072b2", "#d55e00", "#009e73", "#b65a92", "#555555"},
	true:  {"#56b4e9", "#f0833a", "#2fc79b", "#dd9bc4", "#aaaaaa"},
}

// Places in the palette.
const (
	blue  = 0
	red   = 1
	black = 4
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
	series := make([]charts.Color, len(c.names))
	for i := range series {
		series[i] = charts.ParseColor(palette[dark][c.color(i)])
	}
	text := charts.ParseColor(ink)
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
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: width, Height: c.height, Theme: c.theme(dark)})
	font := charts.FontStyle{FontSize: 11}
	x := charts.XAxisOption{Labels: c.labels, LabelFontStyle: font, LabelCount: timeLabels + 1}
	if width == narrowChart {
		x.LabelCount = timeLabels/2 + 1
	}
	if c.bars {
		x.LabelCount = len(c.labels)
	}
	y := charts.YAxisOption{LabelFontStyle: font, Min: charts.Ptr(0.0), ValueFormatter: short, LabelCount: 5, SplitLineShow: charts.Ptr(true)}
	if c.ceil > 0 {
		y.Max = charts.Ptr(c.ceil)
	}
	legend := charts.LegendOption{SeriesNames: c.names, Show: charts.Ptr(false)} // the page has one
	pad := charts.NewBox(4, 12, 14, 4)
	var err error
	if c.bars {
		o := charts.NewBarChartOptionWithData(c.values)
		o.Theme, o.Legend, o.CategoryAxis, o.ValueAxis, o.Padding = c.theme(dark), legend, x, []charts.ValueAxisOption{y}, pad
		o.ValueFormatter = short
		err = p.BarChart(o)
	} else {
		o := charts.NewLineChartOptionWithData(c.values)
		x.BoundaryGap = charts.Ptr(false)
		o.Theme, o.Legend, o.XAxis, o.YAxis, o.Padding = c.theme(dark), legend, x, []charts.YAxisOption{y}, pad
		o.Symbol, o.LineStrokeWidth, o.ValueFormatter = charts.Symbol{Shape: charts.SymbolNone}, 1.6, short
		err = p.LineChart(o)
	}
	if err != nil {
		return "", fmt.Errorf("draw a chart: %w", err)
	}
	svg, err := p.Bytes()
	return template.HTML(svg), err // the library escapes all text
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
