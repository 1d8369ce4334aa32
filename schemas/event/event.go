// Package event is the AI-aware event schema: columns, classes and families,
// generated from event.yaml, the single source of truth (`./task gen`).
//
// The package holds facts only; reading and writing columns is the job of
// services/internal/block.
package event

import "strings"

// ColumnID numbers a column. Ids are positions in Columns: they are stable
// within one build and never travel, blocks carry column names.
type ColumnID uint16

// Kind is the logical type of a column. It decides the ClickHouse type, the
// layout in a block and the type a rule sees.
type Kind uint8

// The kinds of event.yaml, with the type that rules see.
const (
	KindString   Kind = iota // string, plain
	KindKeyword              // string, dictionary-encoded
	KindU8                   // int
	KindU16                  // int
	KindU32                  // int
	KindU64                  // int
	KindF32                  // float
	KindF64                  // float
	KindBool                 // bool
	KindTime                 // int, milliseconds since 1970
	KindIP                   // string, 16 bytes in the block; "" when absent
	KindUUID                 // string, 16 bytes in the block
	KindKeywords             // list of strings, dictionary-encoded
	KindScores               // map of string to float
)

// ClickHouseType is the column type on the wire and in the tables.
func (k Kind) ClickHouseType() string { return clickHouseTypes[k] }

// String is the type's name in event.yaml.
func (k Kind) String() string { return kindNames[k] }

// Text reports whether rules see a single string.
func (k Kind) Text() bool {
	return k == KindString || k == KindKeyword || k == KindIP || k == KindUUID
}

// Number reports whether rules see an integer or a float.
func (k Kind) Number() bool { return k >= KindU8 && k <= KindF64 || k == KindTime }

var kindNames = [...]string{"string", "keyword", "u8", "u16", "u32", "u64", "f32", "f64", "bool", "time", "ip", "uuid", "keywords", "scores"}

var clickHouseTypes = [...]string{
	"String", "LowCardinality(String)", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Bool",
	"DateTime64(3, 'UTC')", "IPv6", "UUID", "Array(LowCardinality(String))", "Map(LowCardinality(String), Float32)",
}

// Family groups the classes that share a table and a subject.
type Family uint8

// Families is a set of families, bit 1<<Family.
type Families uint16

// Has reports whether f is in the set.
func (s Families) Has(f Family) bool { return s&(1<<f) != 0 }

// String is the family's name, as in subjects and table names.
func (f Family) String() string {
	if int(f) < len(FamilyNames) {
		return FamilyNames[f]
	}
	return "unknown"
}

// FamilyByName finds a family.
func FamilyByName(name string) (Family, bool) {
	for i, n := range FamilyNames {
		if n == name {
			return Family(i), true
		}
	}
	return 0, false
}

// Column describes one column of the schema.
type Column struct {
	ID       ColumnID
	Name     string // ClickHouse column
	Path     string // name in rules and mappings
	Kind     Kind
	Families Families // families whose table carries it
	OCSF     string   // attribute path in OCSF; empty if it has none
	OTel     string   // OpenTelemetry attribute; empty if none
	ECS      string   // Elastic Common Schema field; empty if none
	Privacy  string   // "", pii, secret or content
	Max      int      // bytes kept of a text; 0 for other kinds
	Doc      string
}

// Class is an OCSF class.
type Class struct {
	UID        uint32
	Name       string
	Family     Family
	Activities []Activity // in order of id
}

// Activity is one value of activity_id within a class.
type Activity struct {
	ID   uint8
	Name string
}

// ByPath finds a column by the name that rules use.
func ByPath(path string) (*Column, bool) { return find(func(c *Column) bool { return c.Path == path }) }

// ByName finds a column by its ClickHouse name.
func ByName(name string) (*Column, bool) { return find(func(c *Column) bool { return c.Name == name }) }

// find is linear: it serves loading and compiling, never an event.
func find(ok func(*Column) bool) (*Column, bool) {
	for i := range Columns {
		if ok(&Columns[i]) {
			return &Columns[i], true
		}
	}
	return nil, false
}

// ClassByName finds a class by its OCSF name.
func ClassByName(name string) (*Class, bool) {
	for i := range Classes {
		if Classes[i].Name == name {
			return &Classes[i], true
		}
	}
	return nil, false
}

// ClassByUID finds a class by its OCSF number.
func ClassByUID(uid uint32) (*Class, bool) {
	for i := range Classes {
		if Classes[i].UID == uid {
			return &Classes[i], true
		}
	}
	return nil, false
}

// Activity finds an activity of the class by name, ignoring case.
func (c *Class) Activity(name string) (uint8, bool) {
	for _, a := range c.Activities {
		if strings.EqualFold(a.Name, name) {
			return a.ID, true
		}
	}
	return 0, false
}

// ActivityName is the name of an activity id, or "" if the class has none such.
func (c *Class) ActivityName(id uint8) string {
	for _, a := range c.Activities {
		if a.ID == id {
			return a.Name
		}
	}
	return ""
}
