package mapping

import (
	"strings"
	"testing"
)

const sameMapping = `
source: test.same
format: json
origin: synthetic
same:
  - {path: log.data, as: ""}
  - {path: log.id, as: ID}
  - {path: Event.Data, as: ""}
  - {path: Event.User.*, as: ""}
  - {path: 'ID["#text"]', as: ID}
keep_all: true
absent: ["-"]
ignore: [log.noise]
classes:
  - when: {ID: ["1"]}
    class: api_activity
    activity: {path: verb, map: {put: Create, add: Create}}
  - class: api_activity
    activity: Read
fields:
  metadata.event_code: ID
  actor.user.name: [user, login]
  message: [{paths: ['list[*]', more], concat: "; "}, text]
  api.operation: {path: about, regexp: 'op=(\w+)'}
`

// TestSame: places that are read as others, wherever they stand, and what fills
// no column is kept under the other's name.
func TestSame(t *testing.T) {
	m, err := Compile("m.yaml", []byte(sameMapping))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		record string
		want   string
		not    string
	}{
		"flat":             {`{"ID":1,"user":"ana","x":{"y":"z"}}`, `"activity_id":99|"metadata.event_code":"1"|"actor.user.name":"ana"|"unmapped":"{\"x.y\":\"z\"}"`, ""},
		"below another":    {`{"log":{"id":1,"noise":2,"data":{"user":"ana","x":{"y":"z"}}}}`, `"metadata.event_code":"1"|"actor.user.name":"ana"|"unmapped":"{\"x.y\":\"z\"}"`, "log"},
		"deeper":           {`{"Event":{"Data":{"ID":{"#text":1,"q":2},"user":"ana"}}}`, `"metadata.event_code":"1"|"actor.user.name":"ana"`, "Event"},
		"any key":          {`{"ID":2,"Event":{"User":{"Whatever":{"login":"bo","k":1}}}}`, `"actor.user.name":"bo"|"unmapped":"{\"k\":1}"`, "Whatever"},
		"dotted keys":      {`{"log.id":"1","log.data.user":"ana"}`, `"metadata.event_code":"1"|"actor.user.name":"ana"`, "log"},
		"second choice":    {`{"ID":1,"user":"ana","login":"bo"}`, `"actor.user.name":"ana"|"unmapped":"{\"login\":\"bo\"}"`, ""},
		"same activity":    {`{"ID":1,"verb":"add"}`, `"activity_name":"Create"|"unmapped":"{\"verb\":\"add\"}"`, ""},
		"part of a value":  {`{"ID":1,"about":"op=get now"}`, `"api.operation":"get"|"unmapped":"{\"about\":\"op=get now\"}"`, ""},
		"means no value":   {`{"ID":1,"user":"-","login":"-","z":"-"}`, `"metadata.event_code":"1"`, "unmapped"},
		"elements joined":  {`{"ID":1,"list":["a\nb",2,{"c":3}],"more":"d"}`, `"message":"a\nb; 2; {\"c\":3}; d"`, ""},
		"long keys remain": {`{"ID":1,"` + strings.Repeat("k", 600) + `":{"a":1}}`, `\":{\"a\":1}}"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, got := runWith(t, m, tc.record)
			for _, want := range strings.Split(tc.want, "|") {
				if !strings.Contains(got, want) {
					t.Errorf("got %s\nwant %s", got, want)
				}
			}
			if tc.not != "" && strings.Contains(got, tc.not) {
				t.Errorf("got %s\nwith %s", got, tc.not)
			}
		})
	}
}

func TestSameErrors(t *testing.T) {
	for name, tc := range map[string]struct{ line, want string }{
		"element": {`{path: "a[0]", as: b}`, "an element of a list"},
		"later":   {`{path: log.data, as: b}`, "is spoken of before"},
		"alias":   {`{path: $no.x, as: b}`, "there is no alias"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile("m.yaml", []byte(strings.Replace(sameMapping, "keep_all", "  - "+tc.line+"\nkeep_all", 1)))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}
