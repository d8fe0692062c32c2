package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/permitd/permitd/limiter"
)

// objectReader reads an object strictly: what it does not know it refuses rather than ignore. It goes on after a fault,
// so that one answer names them all.
type objectReader struct {
	*body
	known  []field
	faults []limiter.Fault
}

// field is a member that an object may have.
type field struct {
	name    string
	missing string // what is wrong without it; "": it may be left out
	// read reads the value, and tells what is wrong with it; more than that it adds to the faults itself.
	read func(at string) (fault string, err error)
}

// readObject reads a body that is one object and nothing else. The fields are those of the function's result, which is
// given what to read them with.
func readObject(r *http.Request, most int64, tooLarge *problem, fields func(*objectReader) []field) error {
	b, err := readBody(r, most, tooLarge)
	if err != nil {
		return err
	}
	defer b.release()
	o := &objectReader{body: b}
	o.known = fields(o)
	if err = o.object(""); err == nil {
		err = o.end()
	}
	return o.finish(err)
}

// finish is what is wrong with a body that was read, as far as err let it be.
func (o *objectReader) finish(err error) error {
	if err != nil {
		o.fault("", malformed(err).Detail)
	}
	if len(o.faults) > 0 {
		return invalid(o.faults...)
	}
	return nil
}

// fault takes note of a fault. More than an answer tells are not kept.
func (o *objectReader) fault(at, detail string) {
	if len(o.faults) <= maxFaults+2 {
		o.faults = append(o.faults, limiter.Fault{Pointer: at, Detail: detail})
	}
}

// below takes note of the faults of a document that stands at a pointer.
func (o *objectReader) below(at string, faults []limiter.Fault) {
	for _, f := range faults {
		o.fault(at+f.Pointer, f.Detail)
	}
}

// object reads the object that comes next and stands at a pointer.
func (o *objectReader) object(at string) error {
	if kind := o.dec.PeekKind(); kind != '{' {
		if err := o.dec.SkipValue(); err != nil {
			return err
		}
		o.fault(at, "must be an object, not "+kindName(kind))
		return nil
	}
	given := make([]bool, len(o.known))
	err := o.members(func(name []byte) error {
		at := pointer(at, name)
		i := slices.IndexFunc(o.known, func(f field) bool { return f.name == string(name) })
		switch {
		case i < 0:
			o.fault(at, "unknown member; known here: "+o.names())
			return o.dec.SkipValue()
		case given[i]:
			o.fault(at, "is given twice")
			return o.dec.SkipValue()
		}
		given[i] = true
		fault, err := o.known[i].read(at)
		if fault != "" && err == nil {
			o.fault(at, fault)
		}
		return err
	})
	if err != nil {
		return err
	}
	for i, f := range o.known {
		if !given[i] && f.missing != "" {
			o.fault(at+"/"+f.name, "is missing: "+f.missing)
		}
	}
	return nil
}

func (o *objectReader) names() string {
	names := make([]string, len(o.known))
	for i, f := range o.known {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

// items reads the array that comes next and calls each for every item, with the item still to be read, up to most of
// them. It returns how many there are.
func (b *body) items(most int, each func(i int) error) (n int, err error) {
	if _, err := b.dec.ReadToken(); err != nil {
		return 0, err
	}
	for ; b.dec.PeekKind() != ']'; n++ {
		if n < most {
			err = each(n)
		} else {
			err = b.dec.SkipValue()
		}
		if err != nil {
			return n, err
		}
	}
	_, err = b.dec.ReadToken()
	return n, err
}

// strs reads an array of 1 to most strings.
func (o *objectReader) strs(at string, most int, into *[]string) (fault string, err error) {
	allowed := fmt.Sprintf("must be an array of 1 to %d strings", most)
	if kind := o.dec.PeekKind(); kind != '[' {
		if err := o.dec.SkipValue(); err != nil {
			return "", err
		}
		return allowed + ", not " + kindName(kind), nil
	}
	n, err := o.items(most, func(i int) error {
		var s string
		fault, err := o.str(&s)
		if fault != "" {
			o.fault(at+"/"+strconv.Itoa(i), fault)
		}
		*into = append(*into, s)
		return err
	})
	if err == nil && (n == 0 || n > most) {
		fault = fmt.Sprintf("%s, not of %d", allowed, n)
	}
	return fault, err
}

// key reads an API key, and keeps its id only.
func (o *objectReader) key(id *string) (fault string, err error) {
	var key string
	if fault, err = o.str(&key); fault != "" || err != nil {
		return fault, err
	}
	if !limiter.Printable(key, limiter.MaxKeyLen) {
		return fmt.Sprintf("must be 1 to %d printable characters", limiter.MaxKeyLen), nil
	}
	*id = limiter.KeyID(key)
	return "", nil
}
