package main

import (
	"strings"
	"testing"
	"time"
)

func TestReadTrace(t *testing.T) {
	tr, err := readTrace("t.csv", strings.NewReader("\xef\xbb\xbfTIMESTAMP,ContextTokens,GeneratedTokens\n"+
		"2023-11-16 18:17:03.9799600,4808,10\n"+
		"2023-11-16 18:17:04.0319600,3180,8\n"))
	if err != nil {
		t.Fatal(err)
	}
	if tr.keys || len(tr.rows) != 2 || tr.rows[0] != (row{Context: 4808, Generated: 10}) ||
		tr.rows[1] != (row{At: 52 * time.Millisecond, Context: 3180, Generated: 8}) {
		t.Errorf("%+v", tr)
	}
	if tr.span() != 52*time.Millisecond {
		t.Errorf("span %s", tr.span())
	}
}

func TestReadTraceOtherColumns(t *testing.T) {
	tr, err := readTrace("t.csv", strings.NewReader("key,GENERATEDTOKENS,Extra, model ,contexttokens,CachedTokens,timestamp\n"+
		"b,1,x,m1,10,,2024-05-10 00:00:02+00:00\n"+
		"a,2,x,,20,5,2024-05-10 00:00:00.5+00:00\n"+
		"c,3,x,m2,30,0,2024-05-10T00:00:02Z\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []row{ // by time; those of the same time as they were
		{Context: 20, Generated: 2, Cached: 5, Key: "a"},
		{At: 1500 * time.Millisecond, Context: 10, Generated: 1, Model: "m1", Key: "b"},
		{At: 1500 * time.Millisecond, Context: 30, Generated: 3, Model: "m2", Key: "c"},
	}
	if !tr.keys || len(tr.rows) != len(want) {
		t.Fatalf("%+v", tr)
	}
	for i := range want {
		if tr.rows[i] != want[i] {
			t.Errorf("row %d: %+v, want %+v", i, tr.rows[i], want[i])
		}
	}
}

func TestReadTraceFaults(t *testing.T) {
	const header = "TIMESTAMP,ContextTokens,GeneratedTokens,CachedTokens\n"
	const at = "2023-11-16 18:17:03.9799600"
	for _, tt := range []struct{ text, want string }{
		{"", "t.csv: the trace is empty"},
		{header, "t.csv: the trace has a header and no requests"},
		{"TIMESTAMP,ContextTokens\n", "t.csv:1: there is no column GeneratedTokens"},
		{header + at + ",1,1,\n" + "yesterday,1,1,\n", `t.csv:3: TIMESTAMP must be like 2023-11-16 18:17:03.9799600, not "yesterday"`},
		{header + at + ",1.5,1,\n", `t.csv:2: ContextTokens must be a whole number from 0 to 1000000000, not "1.5"`},
		{header + at + ",1,-1,\n", `t.csv:2: GeneratedTokens must be a whole number`},
		{header + at + ",1,,\n", `t.csv:2: GeneratedTokens must be a whole number`},
		{header + at + ",1,1,2\n", `t.csv:2: CachedTokens (2) are part of ContextTokens (1)`},
		{header + at + ",1\n" + at + ",1,1,\"\n", "t.csv:2: wrong number of fields\nt.csv:"},
	} {
		if _, err := readTrace("t.csv", strings.NewReader(tt.text)); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q:\n%v\nwant\n%s", tt.text, err, tt.want)
		}
	}
	_, err := readTrace("t.csv", strings.NewReader(header+strings.Repeat("x,1,1,\n", 100)))
	if n := strings.Count(err.Error(), "\n") + 1; n != maxTraceFaults {
		t.Errorf("%d faults are told, want %d", n, maxTraceFaults)
	}
}

func TestDealKeys(t *testing.T) {
	deal := func(seed uint64) []row {
		tr := &trace{rows: make([]row, 10_000)}
		tr.dealKeys(20, seed)
		return tr.rows
	}
	a, again, other := deal(1), deal(1), deal(2)
	times, same := map[string]int{}, true
	for i := range a {
		times[a[i].Key]++
		if a[i] != again[i] {
			t.Fatalf("row %d has key %s, and with the same seed %s", i, a[i].Key, again[i].Key)
		}
		same = same && a[i] == other[i]
	}
	if same {
		t.Error("another seed deals the same keys")
	}
	first, tenth := times["loadtest-key-0001"], times["loadtest-key-0010"]
	if len(times) != 20 || first < 6*tenth || first > 20*tenth {
		t.Errorf("%d keys; the first has %d requests, the tenth %d", len(times), first, tenth)
	}
}
