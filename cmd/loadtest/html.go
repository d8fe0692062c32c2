package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"strings"
	"time"
)

//go:embed report.html
var pageText string

var page = template.Must(template.New("report").Parse(pageText))

// writeHTML writes the report as one page that loads nothing.
func (r *report) writeHTML(path string, stdout io.Writer) error {
	text, err := r.html(time.Now())
	switch {
	case err != nil:
	case path == "-":
		_, err = stdout.Write(text)
	default:
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the report: %w; choose another file by --report", err)
	}
	return nil
}

type pageSection struct {
	topic
	Drawings []pageDrawing
}

// pageDrawing is one chart, drawn four times; the style sheet shows the one that fits.
type pageDrawing struct {
	Title    string
	Legend   []pageSeries
	Variants []pageVariant
	Lines    []string
	Events   []pageEvent
}

type pageEvent struct {
	N        int
	At, Text string
}

type pageSeries struct {
	Name  string
	Color int
}

type pageVariant struct {
	Class string
	SVG   template.HTML
}

func (r *report) html(now time.Time) ([]byte, error) {
	var data struct {
		When        string
		Light, Dark []string // the palette
		Interrupted bool
		Head        []string
		Rows        [][]string
		Verdicts    []verdictLine
		Sections    []pageSection
		Settings    [][2]string
		Policy      string
		Versions    []string
		Command     string
	}
	data.When = now.UTC().Format("2006-01-02 15:04 UTC")
	data.Light, data.Dark = palette[false], palette[true]
	data.Head, data.Rows = r.comparison()
	data.Settings, data.Policy = r.Settings.rows(), r.Settings.Policy
	data.Versions, data.Command = r.Settings.Versions, r.Settings.Command
	for _, run := range r.Runs {
		data.Interrupted = data.Interrupted || run.Interrupted
		for _, a := range run.Assertions {
			data.Verdicts = append(data.Verdicts, verdictLine{run.Strategy, a, strings.HasPrefix(a, "holds")})
		}
	}
	for _, t := range r.topics() {
		s := pageSection{topic: t}
		for _, c := range t.Charts {
			d, err := c.drawing()
			if err != nil {
				return nil, err
			}
			s.Drawings = append(s.Drawings, d)
		}
		data.Sections = append(data.Sections, s)
	}
	var text bytes.Buffer
	err := page.Execute(&text, data)
	return text.Bytes(), err
}

type verdictLine struct {
	Strategy, Text string
	Holds          bool
}

func (c titledChart) drawing() (pageDrawing, error) {
	d := pageDrawing{Title: c.Title, Lines: c.Lines, Events: c.Events}
	for i, name := range c.names {
		d.Legend = append(d.Legend, pageSeries{name, c.color(i)})
	}
	for _, width := range []int{wideChart, narrowChart} {
		for _, dark := range []bool{false, true} {
			class := map[int]string{wideChart: "wide", narrowChart: "narrow"}[width] + map[bool]string{false: " light", true: " dark"}[dark]
			svg, err := c.draw(width, dark)
			if err != nil {
				return d, err
			}
			d.Variants = append(d.Variants, pageVariant{class, svg})
		}
	}
	return d, nil
}
