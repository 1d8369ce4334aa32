package enrich

import (
	"net/netip"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// fact is what is known of a value; nil: nothing.
type fact struct {
	zone  string
	asset *Asset
	hits  []hit

	country          string
	asn              uint32
	geoNote, asnNote string
}

type hit struct {
	list      *loaded
	indicator string
}

// Worker applies the engine's tables to blocks. One goroutine uses it.
type Worker struct {
	engine *Engine
	at     *tables
	addrs  map[[16]byte]*fact // of blocks before, too
	cols   []facts
}

// facts is what is known of a column's values.
type facts struct {
	id    event.ColumnID
	words []*fact // by dictionary index
	rows  []*fact // by row; instead of words
	keys  []uint32
}

// maxAddresses bounds the addresses remembered.
const maxAddresses = 1 << 16

// NewWorker makes a worker; a nil engine gives one that adds nothing.
func NewWorker(e *Engine) *Worker { return &Worker{engine: e, addrs: map[[16]byte]*fact{}} }

// The columns whose values are looked up, by what they hold. Assets are asked
// in this order, and the first that has an owner gives it: what the event is
// about before who did it.
var (
	hosts   = []event.ColumnID{event.DeviceHostname, event.DstEndpointHostname, event.SrcEndpointHostname}
	domains = []event.ColumnID{event.DstEndpointHostname, event.HTTPRequestHostname, event.TLSSni, event.SrcEndpointHostname, event.AIAPIBase}
	hashes  = []event.ColumnID{event.FileHashes, event.ProcessHashes}
	ips     = []event.ColumnID{event.DeviceIP, event.DstEndpointIP, event.SrcEndpointIP}
)

// Apply enriches the rows of a block under construction.
func (w *Worker) Apply(b *block.Builder) {
	if w.engine == nil || b.Rows() == 0 {
		return
	}
	if t := w.engine.current.Load(); t != w.at {
		w.at = t
		clear(w.addrs)
	}
	if len(w.addrs) > maxAddresses {
		clear(w.addrs)
	}
	w.cols = w.cols[:0]
	if len(w.at.assets) > 0 {
		for _, id := range hosts[:1] {
			w.words(b, id, func(v string) *fact { return w.asset("host", v) })
		}
		w.words(b, event.K8sNamespace, func(v string) *fact { return w.asset("k8s", v) })
		w.workloads(b)
	}
	if len(w.at.assets) > 0 || w.at.zones != nil || len(w.at.geo) > 0 || w.has(kindIP) {
		for _, id := range ips {
			w.addresses(b, id)
		}
	}
	if len(w.at.assets) > 0 {
		for _, id := range hosts[1:] {
			w.words(b, id, func(v string) *fact { return w.asset("host", v) })
		}
		w.words(b, event.AIModelName, func(v string) *fact { return w.asset("model", v) })
		w.words(b, event.ActorUserCredentialUID, func(v string) *fact { return w.asset("key", v) })
	}
	if w.has(kindDomain) {
		for _, id := range domains {
			w.words(b, id, w.domain)
		}
		w.texts(b, event.DNSQuery, w.domain)
	}
	if w.has(kindHash) {
		for _, id := range hashes {
			w.words(b, id, w.hashes)
		}
	}
	if w.has(kindPackage) {
		w.words(b, event.ResourceName, w.pack)
		w.texts(b, event.ResourceUID, w.pack)
	}
	if len(w.cols) > 0 {
		w.put(b)
	}
}

func (w *Worker) has(kind string) bool {
	for _, l := range w.at.lists {
		if l.kind == kind {
			return true
		}
	}
	return false
}

// words looks every distinct value of a column up. A column of which nothing is
// known is not looked at again.
func (w *Worker) words(b *block.Builder, id event.ColumnID, look func(string) *fact) {
	dict, keys := b.Words(id)
	var known []*fact
	for i := 1; i < dict.Len(); i++ {
		f := look(dict.At(i))
		if f == nil {
			continue
		}
		if known == nil {
			known = make([]*fact, dict.Len())
		}
		known[i] = f
	}
	if known != nil {
		w.cols = append(w.cols, facts{id: id, words: known, keys: keys})
	}
}

// texts is words for a column without a dictionary.
func (w *Worker) texts(b *block.Builder, id event.ColumnID, look func(string) *fact) {
	var known []*fact
	b.Texts(id, func(row int, v []byte) {
		f := look(string(v))
		if f == nil {
			return
		}
		if known == nil {
			known = make([]*fact, b.Rows())
		}
		known[row] = f
	})
	if known != nil {
		w.cols = append(w.cols, facts{id: id, rows: known})
	}
}

// workloads looks pods up within their namespaces.
func (w *Worker) workloads(b *block.Builder) {
	spaces, spaceOf := b.Words(event.K8sNamespace)
	pods, podOf := b.Words(event.K8sPod)
	var known []*fact
	for row := range min(len(spaceOf), len(podOf)) {
		if podOf[row] == 0 || spaceOf[row] == 0 {
			continue
		}
		if row > 0 && podOf[row] == podOf[row-1] && spaceOf[row] == spaceOf[row-1] {
			if known != nil {
				known[row] = known[row-1]
			}
			continue
		}
		if f := w.asset("k8s", spaces.At(int(spaceOf[row]))+"/"+pods.At(int(podOf[row]))); f != nil {
			if known == nil {
				known = make([]*fact, b.Rows())
			}
			known[row] = f
		}
	}
	if known != nil {
		w.cols = append(w.cols, facts{id: event.K8sPod, rows: known})
	}
}

// addresses looks every address up that was not seen before.
func (w *Worker) addresses(b *block.Builder, id event.ColumnID) {
	fixed := b.Addresses(id)
	var known []*fact
	var last [16]byte
	var f *fact
	for row := range len(fixed) / 16 {
		a := [16]byte(fixed[row*16:])
		if a != last {
			last = a
			var ok bool
			if f, ok = w.addrs[a]; !ok {
				f = w.address(&a)
				w.addrs[a] = f
			}
		}
		if f != nil && a != ([16]byte{}) {
			if known == nil {
				known = make([]*fact, b.Rows())
			}
			known[row] = f
		}
	}
	if known != nil {
		w.cols = append(w.cols, facts{id: id, rows: known})
	}
}

func (w *Worker) address(a *[16]byte) *fact {
	var f fact
	if w.at.zones != nil {
		if i, ok := w.at.zones.find(a); ok {
			f.zone = w.at.zoneNames[i]
		}
	}
	text := ""
	addr := func() string {
		if text == "" {
			text = netip.AddrFrom16(*a).Unmap().String()
		}
		return text
	}
	if len(w.at.assets) > 0 {
		f.asset = w.at.assets["ip\x1f"+addr()]
	}
	for _, l := range w.at.lists {
		if l.kind == kindIP {
			if _, ok := l.nets.find(a); ok {
				f.hits = append(f.hits, hit{l, addr()})
			}
		}
	}
	if len(w.at.geo) > 0 && *a != ([16]byte{}) {
		f.locate(w.at.geo, netip.AddrFrom16(*a).Unmap())
	}
	return f.orNil()
}

func (f fact) orNil() *fact {
	if f.zone == "" && f.asset == nil && len(f.hits) == 0 && f.country == "" && f.asn == 0 {
		return nil
	}
	return &f
}

func (w *Worker) asset(kind, name string) *fact {
	return fact{asset: w.at.assets[assetKey(kind, name)]}.orNil()
}

// domain looks a name up, and the names that it lies below.
func (w *Worker) domain(name string) *fact {
	name = strings.ToLower(name)
	if _, rest, ok := strings.Cut(name, "://"); ok {
		name, _, _ = strings.Cut(rest, "/")
	}
	name, _, _ = strings.Cut(name, ":")
	name = strings.TrimSuffix(name, ".")
	var f fact
	for part, n := name, 0; part != "" && n < 32; n++ {
		f.hits = w.match(f.hits, kindDomain, part)
		_, part, _ = strings.Cut(part, ".")
	}
	return f.orNil()
}

// hashes looks up what stands in a text such as SHA256=…,MD5=….
func (w *Worker) hashes(text string) *fact {
	var f fact
	for part := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return strings.ContainsRune(",;=: ", r) }) {
		if len(part) >= 32 {
			f.hits = w.match(f.hits, kindHash, part)
		}
	}
	return f.orNil()
}

func (w *Worker) pack(name string) *fact {
	return fact{hits: w.match(nil, kindPackage, packageName(strings.ToLower(name)))}.orNil()
}

func (w *Worker) match(hits []hit, kind, word string) []hit {
	for _, l := range w.at.lists {
		if l.kind == kind {
			if _, ok := l.words[word]; ok {
				hits = append(hits, hit{l, strings.Clone(word)})
			}
		}
	}
	return hits
}
