package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// aReport is of strategies that did something.
func aReport() *report {
	r := &report{Settings: settings{Trace: "t.csv", Strategies: strategies, per: time.Second, slot: 10 * time.Millisecond, Providers: []providerSettings{{Name: "acme", Amount: 1000, bound: 500}}, Policy: "providers: {}"}}
	for i, name := range strategies {
		f := newFlow(r.Settings.slot, 1000, time.Second)
		for at := range 200 {
			f.arrive(time.Duration(at)*5*time.Millisecond, 5, name != strategyNone || at%2 == 0)
		}
		run := &runReport{Strategy: name}
		run.Providers = []*providerReport{{Provider: "acme"}}
		run.Providers[0].slots, run.PeakTokens = f.read()
		if name != strategyNone {
			run.course = newCourse(r.Settings.slot, func() time.Duration { return time.Second })
			run.course.add(answerGrant, time.Millisecond)
		}
		run.TokensAdmitted = 1000
		run.byKey = map[string]int64{"loadtest-key-0001": 900, fmt.Sprintf("k%d", i): 100}
		run.Kept = map[string]int64{providerLimitName: 10, accountLimitName: 2}
		run.Decision = latency{Count: 3, P50: 1, P90: 2, P99: 3, P999: 4}
		run.Assertions = []string{"holds: served=1 (it is 1)"}
		r.Runs = append(r.Runs, run)
	}
	return r
}

// page parses the report's page, and calls f for each element and text.
func eachNode(t *testing.T, r *report, f func(*html.Node)) string {
	t.Helper()
	text, err := r.html(time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		f(n)
	}
	return string(text)
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func TestPageHasAChartForEachTopic(t *testing.T) {
	drawn := map[string]int{}
	eachNode(t, aReport(), func(n *html.Node) {
		if n.Data != "svg" {
			return
		}
		for p := n.Parent; p != nil; p = p.Parent {
			if p.Data == "section" {
				drawn[attribute(p, "id")]++
			}
		}
	})
	// Four drawings of each chart: wide and narrow, light and dark.
	want := map[string]int{"over-time": 16, "arrived": 16, "refused": 4, "bound": 4, "denials": 4, "latency": 4, "keys": 4}
	if fmt.Sprint(drawn) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", drawn, want)
	}
}

func TestPageLoadsNothing(t *testing.T) {
	text := eachNode(t, aReport(), func(n *html.Node) {
		for _, name := range []string{"src", "href", "data", "action", "srcset"} {
			if v := attribute(n, name); v != "" {
				t.Errorf("<%s %s=%q>", n.Data, name, v)
			}
		}
		if n.Type == html.ElementNode && (n.Data == "script" || n.Data == "link" || n.Data == "iframe" || n.Data == "img") {
			t.Errorf("there is a <%s>", n.Data)
		}
	})
	// The names of XML's own namespaces are no addresses to load from.
	text = regexp.MustCompile(`xmlns(:xlink)?="http://www\.w3\.org/[a-z0-9/]+"`).ReplaceAllString(text, "")
	if at := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9]|url\(|@import`).FindString(text); at != "" {
		t.Errorf("there is %q", at)
	}
}

func TestPageEscapesNames(t *testing.T) {
	const hostile = `</text></svg><script>alert(1)</script>'"&]]>`
	r := aReport()
	r.Settings.Trace, r.Settings.Policy, r.Settings.Command, r.Settings.Versions = hostile, hostile, hostile, []string{hostile}
	for _, run := range r.Runs {
		run.Strategy = hostile
		run.Kept[hostile], run.byKey[hostile] = 9, 900
		run.Assertions = []string{hostile}
	}
	texts := 0
	eachNode(t, r, func(n *html.Node) {
		if n.Type == html.ElementNode && n.Data == "script" {
			t.Errorf("a name became an element, in <%s>", n.Parent.Data)
		}
		if n.Type == html.TextNode && strings.Contains(n.Data, "<script>alert(1)</script>") {
			texts++
		}
	})
	if texts < 20 {
		t.Errorf("the name is shown %d times only", texts)
	}
}

func TestPageHidesKeysOfTheTrace(t *testing.T) {
	r := aReport()
	r.Settings.ownKeys = true
	r.Runs[0].byKey["sk-secret"] = 1e6
	text := eachNode(t, r, func(*html.Node) {})
	if strings.Contains(text, "sk-secret") || !strings.Contains(text, "k_") {
		t.Error("keys of the trace are to be shown by their ids")
	}
}

// Nothing happened, as when a replay is interrupted at once.
func TestPageOfNothing(t *testing.T) {
	r := &report{Settings: settings{Providers: []providerSettings{{Amount: 1}}, per: time.Second, slot: time.Millisecond}, Runs: []*runReport{{Strategy: strategyNone, Providers: []*providerReport{{}}, Interrupted: true}}}
	if text := eachNode(t, r, func(*html.Node) {}); !strings.Contains(text, "Interrupted") {
		t.Error("it does not say that it was interrupted")
	}
}

func TestReplayWritesAPage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	args := []string{"replay", "--trace", writeTrace(t, 3, time.Second), "--capacity=10000", "--report"}
	if code, stdout, stderr := loadtest(t, append(args, path)...); code != exitOK {
		t.Fatalf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), "Upstream 429s") {
		t.Errorf("%v, %.100s", err, text)
	}
	if code, _, stderr := loadtest(t, append(args, filepath.Join(path, "x"))...); code != exitBroken || !strings.Contains(stderr, "choose another file by --report") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestCommandLineIsRepeatable(t *testing.T) {
	got := commandLine([]string{"replay", "--trace", "my trace's.csv", "--token", "secret", "--token=secret", "--redis-url=redis://u:secret@h:1", "--assert=used>=0.97"})
	want := `loadtest replay --trace 'my trace'\''s.csv' --token "$PERMITD_TOKEN" --token="$PERMITD_TOKEN" '--redis-url=redis://…@h:1' '--assert=used>=0.97'`
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestFlow(t *testing.T) {
	f := newFlow(10*time.Millisecond, 100, time.Second)
	f.arrive(0, 50, true)
	f.arrive(100*time.Millisecond, 20, false) // 10 have drained
	f.arrive(5*time.Second, 30, true)
	slots, peak := f.read()
	if peak != 60 || len(slots) != 501 || slots[10] != (flowSlot{refused: 20, turnedAway: 1}) || slots[0].ahead != 50 {
		t.Errorf("peak %d, %d slots", peak, len(slots))
	}
	if got := fmt.Sprint(gather(slots, 251, 3)); got != "[{50 20 1 50} {30 0 0 30} {0 0 0 0}]" {
		t.Error(got)
	}
}
