package limiter

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"sync"
	"time"
)

// zoneinfo is the IANA database as Go distributes it (lib/time/zoneinfo.zip of its tree; `make zones` brings it up to
// date).
//
// [time.LoadLocation] won't do: it prefers the database of the machine, whose names and clock changes differ from one
// machine to the next, so that two instances could disagree on when a day ends.
//
//go:embed zoneinfo.zip
var zoneinfo []byte

// zoneFiles returns the database by the names of its zones.
var zoneFiles = sync.OnceValue(func() map[string]*zip.File {
	r, err := zip.NewReader(bytes.NewReader(zoneinfo), int64(len(zoneinfo)))
	if err != nil {
		panic(err) // the database is part of the program
	}
	files := make(map[string]*zip.File, len(r.File))
	for _, f := range r.File {
		if !f.FileInfo().IsDir() && f.Name != "Factory" { // a placeholder for a machine that was not set up
			files[f.Name] = f
		}
	}
	return files
})

// zones holds the zones that documents have named so far, by name. There are no more than zoneFiles has.
var zones sync.Map // string → *time.Location

// loadZone returns a time zone by its exact name in the IANA database, the same on every machine.
func loadZone(name string) (*time.Location, error) {
	if z, ok := zones.Load(name); ok {
		return z.(*time.Location), nil
	}
	f := zoneFiles()[name]
	if f == nil {
		return nil, fmt.Errorf("unknown time zone %q; name one of the IANA database, such as America/Los_Angeles or UTC", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	z, err := time.LoadLocationFromTZData(name, data)
	if err != nil {
		return nil, err
	}
	zones.Store(name, z)
	return z, nil
}
