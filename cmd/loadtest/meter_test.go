package main

import (
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	var now time.Duration
	m := &meter{now: func() time.Duration { return now }}
	if _, ok := m.read().share(100, time.Second); ok {
		t.Error("there is a share though nobody waited")
	}
	m.admit(1000) // nobody waits: not counted as used
	now = 1 * time.Second
	m.begin(30) // a stretch of 2 s, begun by a cost of 30
	now = 2 * time.Second
	m.admit(30)
	m.begin(50)
	m.end()
	now = 3 * time.Second
	m.admit(150)
	m.end()
	now = 10 * time.Second
	m.admit(1000)
	m.begin(10) // a stretch that lasts
	now = 11 * time.Second
	want := usage{Admitted: 2180, Used: 140, Stretches: 2, Waited: 3 * time.Second, Waiting: 1}
	if got := m.read(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if share, ok := m.read().share(100, 2*time.Second); !ok || share != 140.0/150 {
		t.Errorf("share %v", share)
	}
}
