package api

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

func TestReadPrecondition(t *testing.T) {
	for _, tt := range []struct {
		match, noneMatch []string
		want             precondition
		fault            string // part of the details
	}{
		{},
		{match: []string{`"7-ABC"`}, want: precondition{tags: []string{`"7-ABC"`}}},
		{match: []string{` "7-ABC" ,, "8-D",`}, want: precondition{tags: []string{`"7-ABC"`, `"8-D"`}}},
		{match: []string{`"7-ABC"`, `"8-D"`}, want: precondition{tags: []string{`"7-ABC"`, `"8-D"`}}},
		{match: []string{`W/"7-ABC", ""`}, want: precondition{tags: []string{`W/"7-ABC"`, `""`}}},
		{match: []string{`"a,b","c"`}, want: precondition{tags: []string{`"a,b"`, `"c"`}}},
		{match: []string{" * "}, want: precondition{any: true}},
		{noneMatch: []string{"*"}, want: precondition{absent: true}},

		{match: []string{""}, fault: "If-Match header must be"},
		{match: []string{" , "}, fault: "If-Match header must be"},
		{match: []string{`7-ABC`}, fault: "If-Match header must be"},
		{match: []string{`"7-ABC`}, fault: "If-Match header must be"},
		{match: []string{`"a" "b"`}, fault: "If-Match header must be"},
		{match: []string{`"a b"`}, fault: "If-Match header must be"},
		{match: []string{`w/"a"`}, fault: "If-Match header must be"},
		{match: []string{`*, "a"`}, fault: "If-Match header must be"},
		{match: []string{`"a", *`}, fault: "If-Match header must be"},
		{match: []string{"*", "*"}, fault: "If-Match header must be"},
		{noneMatch: []string{`"7-ABC"`}, fault: "If-None-Match header of a write must be *"},
		{noneMatch: []string{"*", "*"}, fault: "If-None-Match header of a write must be *"},
		{noneMatch: []string{""}, fault: "If-None-Match header of a write must be *"},
		{match: []string{"*"}, noneMatch: []string{"*"}, fault: "send one of them"},
	} {
		h := http.Header{}
		if tt.match != nil {
			h["If-Match"] = tt.match
		}
		if tt.noneMatch != nil {
			h["If-None-Match"] = tt.noneMatch
		}
		got, err := readPrecondition(h)
		if tt.fault == "" && (err != nil || !reflect.DeepEqual(got, tt.want)) {
			t.Errorf("%q: got %+v, %v", h, got, err)
		}
		if tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
			t.Errorf("%q: error %v, want %s", h, err, tt.fault)
		}
		if (refusePrecondition(h) == nil) != (len(h) == 0) {
			t.Errorf("%q: refused where there is none: %v", h, refusePrecondition(h))
		}
	}
}

// TestPrecondition: a write is made if the condition holds of what is stored, and only on top of that.
func TestPrecondition(t *testing.T) {
	there := version{7, "ABC"}
	for _, tt := range []struct {
		name   string
		p      precondition
		stored version
		want   limiter.Edit // of the write; zero where refused is set
		asked  int          // how often what is stored was asked for
		failed bool
	}{
		{"none", precondition{}, there, limiter.Edit{}, 0, false},
		{"absent is for the store to see", precondition{absent: true}, there, limiter.Edit{Absent: true}, 0, false},
		{"this one", precondition{tags: []string{`"7-ABC"`}}, there, limiter.Edit{Tag: "ABC"}, 1, false},
		{"one of these", precondition{tags: []string{`"1-X"`, `"7-ABC"`}}, there, limiter.Edit{Tag: "ABC"}, 1, false},
		{"any", precondition{any: true}, there, limiter.Edit{Tag: "ABC"}, 1, false},
		{"stale", precondition{tags: []string{`"6-ABC"`}}, there, limiter.Edit{}, 1, true},
		{"other store", precondition{tags: []string{`"7-XYZ"`}}, there, limiter.Edit{}, 1, true},
		{"weak", precondition{tags: []string{`W/"7-ABC"`}}, there, limiter.Edit{}, 1, true},
		{"this one of none", precondition{tags: []string{`"0-"`}}, version{}, limiter.Edit{}, 1, true},
		{"any of none", precondition{any: true}, version{}, limiter.Edit{}, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked, writes := 0, 0
			err := tt.p.write(limiter.Edit{By: "ann"}, func() (version, error) { asked++; return tt.stored, nil },
				func(e limiter.Edit) error {
					writes++
					want := tt.want
					want.By = "ann"
					if e != want {
						t.Errorf("edit %+v, want %+v", e, want)
					}
					return nil
				})
			var conflict *limiter.ConflictError
			if failed := errors.As(err, &conflict); failed != tt.failed || failed && conflict.Revision != tt.stored.revision || failed == (writes == 1) {
				t.Errorf("%v after %d writes", err, writes)
			}
			if asked != tt.asked {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

// TestPreconditionRace: somebody else writes between the look and the write.
func TestPreconditionRace(t *testing.T) {
	race := func(p precondition) (writes int, err error) {
		v := version{1, "A"}
		err = p.write(limiter.Edit{}, func() (version, error) { return v, nil }, func(e limiter.Edit) error {
			if writes++; writes == 1 {
				v = version{2, "B"}
			}
			if e.Tag != v.tag {
				return edited(&limiter.ConflictError{Revision: v.revision}, "")
			}
			return nil
		})
		return writes, err
	}
	if writes, err := race(precondition{any: true}); writes != 2 || err != nil {
		t.Errorf("If-Match: *: %v after %d writes", err, writes)
	}
	var conflict *limiter.ConflictError
	if writes, err := race(precondition{tags: []string{`"1-A"`}}); writes != 1 || !errors.As(err, &conflict) || conflict.Revision != 2 {
		t.Errorf("If-Match: %v after %d writes", err, writes)
	}
	other := edited(&limiter.ConflictError{Revision: 9}, "the other one")
	if err := (precondition{any: true}).write(limiter.Edit{}, func() (version, error) { return version{1, "A"}, nil }, func(limiter.Edit) error { return other }); err != other {
		t.Errorf("refused for something else: %v", err)
	}
	lost := errors.New("lost")
	if err := (precondition{any: true}).write(limiter.Edit{}, func() (version, error) { return version{}, lost }, nil); err != lost {
		t.Errorf("store away: %v", err)
	}
}

func TestProblemsOfWrites(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string // part of the answer
	}{
		{edited(&limiter.ConflictError{Revision: 7}, ""), `"status":412,"detail":"what is stored is not what this write was made for`},
		{edited(&limiter.ConflictError{Revision: 7}, ""), `,"revision":7}`},
		{edited(&limiter.ConflictError{}, ""), `,"revision":null}`},
		{&limiter.ConflictError{Revision: 7}, `"type":"urn:permitd:problem:precondition-failed"`},
		{edited(&limiter.ConflictError{Revision: 7}, "do that"), `"detail":"do that","revision":7}`},
		{edited(limiter.ErrUnknownProvider, "do that"), `"detail":"no policy is stored for this provider`},
		{edited(limiter.ErrStoreUnavailable, "do that"), `"detail":"permitd can't tell whether this was written: GET it after Retry-After and compare its revision`},
		{edited(limiter.ErrOverloaded, ""), `"detail":"permitd can't tell whether this was written`},
		{limiter.ErrStoreUnavailable, `nothing was charged`},
	} {
		if text := string(problemOf(tt.err).append(nil)); !strings.Contains(text, tt.want) {
			t.Errorf("%v: %s lacks %s", tt.err, text, tt.want)
		}
	}
	if edited(nil, "x") != nil {
		t.Error("no error became one")
	}
}

// TestFaultsOfDocumentsAreBounded: those of a document are as few as those of an ask.
func TestFaultsOfDocumentsAreBounded(t *testing.T) {
	many := make([]limiter.Fault, 5000)
	for i := range many {
		many[i] = limiter.Fault{Pointer: "/x", Detail: "is wrong"}
	}
	p := problemOf(invalid(many...))
	if n := len(p.faults); n != maxFaults+1 || !strings.Contains(p.faults[n-1].Detail, "more faults than these 64") {
		t.Errorf("%d faults", n)
	}
	if p := problemOf(invalid(many[:maxFaults+2]...)); len(p.faults) != maxFaults+2 {
		t.Errorf("%d faults", len(p.faults))
	}
}
