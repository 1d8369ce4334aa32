package otlp

// kind says how a field travels and how OTLP-JSON writes it.
type kind uint8

const (
	none     kind = iota // no such field
	text                 // string
	octets               // bytes as base64
	hexBytes             // bytes as hex: trace and span ids
	boolean              // bool
	i32                  // int32 and enums: a number
	u32                  // uint32
	i64                  // int64: a string of digits
	u64                  // uint64
	z32                  // sint32
	f32                  // fixed32
	f64                  // fixed64
	s64                  // sfixed64
	double               // double
	sub                  // message
)

// field is what the walk knows of a field number. The tables below follow
// opentelemetry-proto 1.x; a test compares them with the official descriptors.
type field struct {
	name     string // with quotes and colon
	kind     kind
	repeated bool
	always   bool // written even if zero: optional fields and members of a oneof
	group    bool // member of the message's oneof (no message has two)
	msg      *message
}

// message holds fields by number.
type message struct {
	fields []field
	// shape is a shortcut for the two messages that everything is made of.
	shape shape
}

type shape uint8

const (
	general shape = iota
	anyValue
	keyValue
)

type numbered struct {
	number int
	field
}

func newMessage(fields ...numbered) *message {
	m := &message{}
	m.set(fields...)
	return m
}

// set fills a message that another one had to name first.
func (m *message) set(fields ...numbered) {
	for _, f := range fields {
		for len(m.fields) <= f.number {
			m.fields = append(m.fields, field{})
		}
		m.fields[f.number] = f.field
	}
}

func of(number int, name string, k kind) numbered {
	return numbered{number, field{name: `"` + name + `":`, kind: k}}
}

func nested(number int, name string, m *message) numbered {
	f := of(number, name, sub)
	f.msg = m
	return f
}

func (f numbered) list() numbered     { f.repeated = true; return f }
func (f numbered) optional() numbered { f.always = true; return f }
func (f numbered) oneof() numbered    { f.always, f.group = true, true; return f }

// tables are the messages of OTLP; made once, read only.
type tables struct {
	value, keyValue, resource, scope, log, span, metric *message
}

func newTables() *tables {
	value, pair := &message{shape: anyValue}, &message{shape: keyValue}
	value.set(
		of(1, "stringValue", text).oneof(), of(2, "boolValue", boolean).oneof(), of(3, "intValue", i64).oneof(),
		of(4, "doubleValue", double).oneof(),
		nested(5, "arrayValue", newMessage(nested(1, "values", value).list())).oneof(),
		nested(6, "kvlistValue", newMessage(nested(1, "values", pair).list())).oneof(),
		of(7, "bytesValue", octets).oneof(), of(8, "stringValueStrindex", i32).oneof(),
	)
	pair.set(of(1, "key", text), nested(2, "value", value), of(3, "keyStrindex", i32))
	entity := newMessage(of(1, "schemaUrl", text), of(2, "type", text), of(3, "idKeys", text).list(), of(4, "descriptionKeys", text).list())
	t := &tables{value: value, keyValue: pair}
	t.resource = newMessage(nested(1, "attributes", pair).list(), of(2, "droppedAttributesCount", u32), nested(3, "entityRefs", entity).list())
	t.scope = newMessage(of(1, "name", text), of(2, "version", text), nested(3, "attributes", pair).list(), of(4, "droppedAttributesCount", u32))
	t.log = newMessage(
		of(1, "timeUnixNano", f64), of(2, "severityNumber", i32), of(3, "severityText", text), nested(5, "body", value),
		nested(6, "attributes", pair).list(), of(7, "droppedAttributesCount", u32), of(8, "flags", f32), of(9, "traceId", hexBytes),
		of(10, "spanId", hexBytes), of(11, "observedTimeUnixNano", f64), of(12, "eventName", text),
	)
	t.span = newSpan(pair)
	t.metric = newMetric(pair)
	return t
}

func newSpan(pair *message) *message {
	event := newMessage(of(1, "timeUnixNano", f64), of(2, "name", text), nested(3, "attributes", pair).list(), of(4, "droppedAttributesCount", u32))
	link := newMessage(of(1, "traceId", hexBytes), of(2, "spanId", hexBytes), of(3, "traceState", text), nested(4, "attributes", pair).list(),
		of(5, "droppedAttributesCount", u32), of(6, "flags", f32))
	status := newMessage(of(2, "message", text), of(3, "code", i32))
	return newMessage(
		of(1, "traceId", hexBytes), of(2, "spanId", hexBytes), of(3, "traceState", text), of(4, "parentSpanId", hexBytes), of(5, "name", text),
		of(6, "kind", i32), of(7, "startTimeUnixNano", f64), of(8, "endTimeUnixNano", f64), nested(9, "attributes", pair).list(),
		of(10, "droppedAttributesCount", u32), nested(11, "events", event).list(), of(12, "droppedEventsCount", u32),
		nested(13, "links", link).list(), of(14, "droppedLinksCount", u32), nested(15, "status", status), of(16, "flags", f32),
	)
}

func newMetric(pair *message) *message {
	exemplar := newMessage(of(2, "timeUnixNano", f64), of(3, "asDouble", double).oneof(), of(4, "spanId", hexBytes), of(5, "traceId", hexBytes),
		of(6, "asInt", s64).oneof(), nested(7, "filteredAttributes", pair).list())
	// What all kinds of points begin with.
	from, at := of(2, "startTimeUnixNano", f64), of(3, "timeUnixNano", f64)
	number := newMessage(from, at, of(4, "asDouble", double).oneof(), nested(5, "exemplars", exemplar).list(), of(6, "asInt", s64).oneof(),
		nested(7, "attributes", pair).list(), of(8, "flags", u32))
	histogram := newMessage(from, at, of(4, "count", f64), of(5, "sum", double).optional(), of(6, "bucketCounts", f64).list(),
		of(7, "explicitBounds", double).list(), nested(8, "exemplars", exemplar).list(), nested(9, "attributes", pair).list(),
		of(10, "flags", u32), of(11, "min", double).optional(), of(12, "max", double).optional())
	buckets := newMessage(of(1, "offset", z32), of(2, "bucketCounts", u64).list())
	exponential := newMessage(nested(1, "attributes", pair).list(), from, at, of(4, "count", f64), of(5, "sum", double).optional(),
		of(6, "scale", z32), of(7, "zeroCount", f64), nested(8, "positive", buckets), nested(9, "negative", buckets), of(10, "flags", u32),
		nested(11, "exemplars", exemplar).list(), of(12, "min", double).optional(), of(13, "max", double).optional(), of(14, "zeroThreshold", double))
	quantile := newMessage(of(1, "quantile", double), of(2, "value", double))
	summary := newMessage(from, at, of(4, "count", f64), of(5, "sum", double), nested(6, "quantileValues", quantile).list(),
		nested(7, "attributes", pair).list(), of(8, "flags", u32))
	points := func(m *message) numbered { return nested(1, "dataPoints", m).list() }
	temporality := of(2, "aggregationTemporality", i32)
	return newMessage(
		of(1, "name", text), of(2, "description", text), of(3, "unit", text),
		nested(5, "gauge", newMessage(points(number))).oneof(),
		nested(7, "sum", newMessage(points(number), temporality, of(3, "isMonotonic", boolean))).oneof(),
		nested(9, "histogram", newMessage(points(histogram), temporality)).oneof(),
		nested(10, "exponentialHistogram", newMessage(points(exponential), temporality)).oneof(),
		nested(11, "summary", newMessage(points(summary))).oneof(),
		nested(12, "metadata", pair).list(),
	)
}
