package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

func TestParseEvents(t *testing.T) {
	events, err := parseEvents(strings.NewReader("# what was done\n\n2026-10-01T12:00:05Z  Redis goes on \n2026-10-01T14:00:03.25+02:00 worker 2 <killed>\n"))
	if got := fmt.Sprint(events, err); got != "[1, outside of the runs, at 2026-10-01T12:00:03Z: worker 2 <killed> 2, outside of the runs, at 2026-10-01T12:00:05Z: Redis goes on] <nil>" {
		t.Error(got)
	}
	for text, want := range map[string]string{
		"worker 2 killed":                                      `1: it must begin with a time like 2026-10-01T12:00:03.2Z, not "worker"`,
		"# x\n2026-10-01 12:00:03 worker":                      `2: it must begin with a time`,
		"2026-10-01T12:00:03Z a\n2026-10-01T12:00:03Z":         `2: after the time there must be a text of 1 to 200 printable characters`,
		"2026-10-01T12:00:03Z a\x1b[1mb":                       `1: after the time there must be a text`,
		"2026-10-01T12:00:03Z " + strings.Repeat("x", 201):     `1: after the time there must be a text`,
		"\n2026-10-01T12:00:03Z " + strings.Repeat("x", 1<<17): `2: the line is too long`,
	} {
		if _, err := parseEvents(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

// A permitd has no decision for some asks, and what was done to it stands in a file: text, JSON and page say both.
func TestReplayReportsWhatHappened(t *testing.T) {
	path, dir := writeTrace(t, 20, time.Second), t.TempDir()
	file := filepath.Join(dir, "events")
	asked := 0
	permitd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprint(w, "{}")
			return
		}
		switch asked++; asked {
		case 1:
			now := time.Now().UTC()
			text := fmt.Sprintf("%s worker 2 is killed\n%s long ago\n", now.Format(time.RFC3339Nano), now.Add(-time.Hour).Format(time.RFC3339))
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			fmt.Fprint(w, `{"degraded":true}`)
		case 3:
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"degraded":true}`)
		default:
			fmt.Fprint(w, "{}")
		}
	}))
	defer permitd.Close()
	args := []string{"replay", "--trace", path, "--permitd", permitd.URL, "--speed=1", "--capacity=100000", "--assert=served=20", "--events", file}
	code, page, table := loadtest(t, append(args, "--report=-", "--json", filepath.Join(dir, "json"))...)
	if code != exitOK {
		t.Fatalf("exit %d\n%s", code, table)
	}
	for _, want := range []string{"no decision: 1 ask at 0.", "degraded: 2 asks ", "event 1, outside of the runs, at 20", "event 2, at 0."} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is missing in\n%s", want, table)
		}
	}
	if doc, err := html.Parse(strings.NewReader(page)); err != nil || !strings.Contains(page, "<td>worker 2 is killed</td>") || strings.Contains(page, "long ago") || doc == nil {
		t.Errorf("%v, %d bytes of page", err, len(page))
	}
	text, err := os.ReadFile(filepath.Join(dir, "json"))
	var report struct {
		Runs []struct {
			Degraded int
			OverTime courseReport `json:"over_time"`
			Went     []trouble    `json:"went_wrong"`
		}
		Events []happening
	}
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil || len(report.Runs) != 1 || len(report.Events) != 2 || report.Events[1].AtS == nil || report.Events[1].Strategy != strategyPermitd || report.Events[0].AtS != nil {
		t.Fatalf("%v, %+v", err, report)
	}
	run, sum := report.Runs[0], courseSlotCount{}
	for _, s := range run.OverTime.Slots {
		sum.Granted, sum.DegradedGranted, sum.DegradedDenied, sum.NoDecision = sum.Granted+s.Granted, sum.DegradedGranted+s.DegradedGranted, sum.DegradedDenied+s.DegradedDenied, sum.NoDecision+s.NoDecision
	}
	if run.Degraded != 2 || len(run.Went) != 2 || sum != (courseSlotCount{Granted: 19, DegradedGranted: 1, DegradedDenied: 1, NoDecision: 1}) {
		t.Errorf("%+v, %+v", run, sum)
	}
}

// What is wrong with the file takes nothing else away.
func TestReplayWithoutItsEvents(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "events")
	if err := os.WriteFile(bad, []byte("2026-10-01T12:00:03Z good\nyesterday\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{bad: bad + ":2: it must begin with a time", filepath.Join(dir, "none"): "no such file"} {
		page := filepath.Join(dir, "page")
		code, stdout, stderr := loadtest(t, "replay", "--trace", writeTrace(t, 3, time.Second), "--capacity=10000", "--assert=served=3", "--events", file, "--report", page)
		if code != exitUsage || !strings.Contains(stderr, want) || !strings.Contains(stdout, "holds: served=3") {
			t.Errorf("exit %d\n%s\n%s", code, stdout, stderr)
		}
		if _, err := os.Stat(page); err != nil {
			t.Error(err)
		}
		os.Remove(page)
	}
}

// texts are all that stands in a node.
func texts(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + "\n")
		}
	}
	return b.String()
}

func TestPageMarksEvents(t *testing.T) {
	r := aReport()
	began := time.Unix(1e9, 0)
	for i, run := range r.Runs {
		run.began, run.ElapsedS = began.Add(time.Duration(i)*time.Minute), 2
		run.course = newCourse(r.Settings.slot, func() time.Duration { return time.Second })
		run.course.add(answerUndecided, time.Millisecond)
		run.WentWrong = run.course.troubles()
	}
	r.happened([]happening{{N: 71, At: began.Add(time.Second / 2), Text: "one"}, {N: 72, At: began.Add(time.Minute + time.Second), Text: "two"}, {N: 73, At: began.Add(30 * time.Second), Text: "between"}})
	marked := map[string]int{}
	text := eachNode(t, r, func(n *html.Node) {
		if n.Data == "svg" {
			for _, number := range []string{"71", "72", "73"} {
				if strings.Contains(texts(n), "\n"+number+"\n") {
					marked[number]++
				}
			}
		}
	})
	// Four drawings of four charts: answers, what went wrong, how long all of them took, and what reached the provider.
	if fmt.Sprint(marked) != "map[71:16 72:16]" {
		t.Error(marked)
	}
	if strings.Count(text, "<td>one</td>") != 1 || strings.Count(text, "<li>no decision: 1 ask at 1.0 s</li>") != len(r.Runs) || strings.Contains(text, "between") {
		t.Error("lists of what happened and of what went wrong are not as they should be")
	}
}
