package limiter

import (
	"hash/maphash"
	"strings"
	"sync"
	"unsafe"

	"github.com/permitd/permitd/limiter/internal/size"
)

// Shared is a text that many records have in common, such as what is the same in all holds of the same limits. It is kept once.
type Shared struct {
	text string
	uses int // the lock of its shard is held
}

// String returns the text. A nil Shared is the empty one.
func (s *Shared) String() string {
	if s == nil {
		return ""
	}
	return s.text
}

// bytes returns what a shared text takes.
func (s *Shared) bytes() int64 {
	return size.Text(s.text) + size.Alloc(int(unsafe.Sizeof(*s))) + size.MapEntry(int(unsafe.Sizeof(s.text)+unsafe.Sizeof(s)))
}

const sharedShards = 32

type sharedShard struct {
	sync.Mutex
	byText map[string]*Shared
}

// Share returns a text to keep, with its bytes taken if nobody else keeps it. Whoever keeps it calls Release once.
func (m *Memory) Share(text []byte) *Shared {
	if len(text) == 0 {
		return nil
	}
	shard := &m.shared[maphash.Bytes(m.seed, text)%sharedShards]
	shard.Lock()
	defer shard.Unlock()
	s := shard.byText[string(text)]
	if s == nil {
		s = &Shared{text: string(text)}
		shard.byText[s.text] = s
		m.Add(s.bytes())
	}
	s.uses++
	return s
}

// Release says that a text is no longer kept by one of those who do. After the last of them its bytes are given back.
func (m *Memory) Release(s *Shared) {
	if s == nil {
		return
	}
	shard := &m.shared[maphash.String(m.seed, s.text)%sharedShards]
	shard.Lock()
	defer shard.Unlock()
	if s.uses--; s.uses == 0 {
		delete(shard.byText, s.text)
		m.Add(-s.bytes())
	}
}

// packed is a body that is kept in memory: what it shares with others, and the rest.
type packed struct {
	shared *Shared
	own    string
}

// keep returns a body to keep. The bytes of what it shares are taken, those of the rest are not.
func (m *Memory) keep(body []byte, shared int) packed {
	return packed{m.Share(body[:shared]), string(body[shared:])}
}

// body returns the whole body.
func (p packed) body() []byte { return []byte(strings.Join([]string{p.shared.String(), p.own}, "")) }
