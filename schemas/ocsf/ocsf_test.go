package ocsf

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func loaded(t testing.TB) *Schema {
	t.Helper()
	s, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every event that the mappings make of every source's samples is valid OCSF.
func TestGoldens(t *testing.T) {
	s := loaded(t)
	files, err := filepath.Glob("../sources/*/testdata/golden/*.events")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	events, filled := 0, 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		lines.Buffer(nil, 4<<20)
		for n := 1; lines.Scan(); n++ {
			_, row, _ := strings.Cut(lines.Text(), " ")
			if !strings.HasPrefix(row, "{") {
				continue
			}
			doc, err := s.Append(nil, []byte(row))
			if err != nil {
				t.Fatalf("%s:%d: %v", file, n, err)
			}
			events++
			if bytes.Contains(doc, []byte("vagus_filled")) {
				filled++
			}
			if problems := s.Validate(doc); len(problems) > 0 {
				t.Errorf("%s:%d: %v\n%s", file, n, problems, doc)
			}
		}
	}
	t.Logf("%d events, of which %d needed an unknown", events, filled)
}

func TestExport(t *testing.T) {
	s := loaded(t)
	for name, tt := range map[string]struct{ row, want string }{
		"http": {
			`{"event_uid":"c8dfaad0-c490-8eb7-8f9b-83a600000000","time":"2026-11-22T18:21:42.000Z","source":"nginx.access","class_uid":4002,"activity_id":6,"severity_id":1,"src_endpoint.ip":"192.0.2.10","http_request.method":"POST","http_request.path":"/v1","http_request.forwarded_for":"192.0.2.1, 192.0.2.2","http_response.code":200,"ai.prompt_length":59,"unmapped":"{\"scheme\":\"https\"}"}`,
			`{"activity_id":6,"category_uid":4,"class_uid":4002,"http_request":{"http_method":"POST","url":{"path":"/v1"},"x_forwarded_for":["192.0.2.1","192.0.2.2"]},"http_response":{"code":200},"metadata":{"product":{"name":"nginx.access","vendor_name":"nginx"},"uid":"c8dfaad0-c490-8eb7-8f9b-83a600000000","version":"1.8.0"},"severity_id":1,"src_endpoint":{"ip":"192.0.2.10"},"time":1795371702000,"type_uid":400206,"unmapped":{"ai.prompt_length":59,"scheme":"https"}}`,
		},
		"model call": {
			`{"time":"2026-11-22T18:21:42Z","source":"litellm.proxy","class_uid":6003,"activity_id":99,"activity_name":"chat","severity_id":1,"src_endpoint.ip":"192.0.2.10","actor.user.name":"ana","ai_model.name":"m","message_context.prompt_tokens":3,"service.name":"gateway"}`,
			`{"activity_id":99,"activity_name":"chat","actor":{"user":{"name":"ana"}},"ai_model":{"ai_provider":"unknown","name":"m"},"api":{"operation":"chat"},"category_uid":6,"class_uid":6003,"message_context":{"prompt_tokens":3,"service":{"name":"gateway"}},"metadata":{"product":{"name":"litellm.proxy","vendor_name":"litellm"},"profiles":["ai_operation"],"version":"1.8.0"},"severity_id":1,"src_endpoint":{"ip":"192.0.2.10"},"time":1795371702000,"type_uid":600399,"unmapped":{"vagus_filled":["ai_model.ai_provider"]}}`,
		},
		"nothing": {
			`{"source":"a.b"}`,
			`{"activity_id":0,"category_uid":0,"class_uid":0,"metadata":{"product":{"name":"a.b","vendor_name":"a"},"version":"1.8.0"},"severity_id":0,"time":0,"type_uid":0}`,
		},
	} {
		got, err := s.Append(nil, []byte(tt.row))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, tt.want)
		}
		if p := s.Validate(got); len(p) > 0 {
			t.Errorf("%s: %v", name, p)
		}
	}
}

func TestValidateFindsProblems(t *testing.T) {
	s := loaded(t)
	good, err := s.Append(nil, []byte(`{"time":"2026-11-22T18:21:42Z","source":"a.b","class_uid":6003,"activity_id":1,"severity_id":1,"src_endpoint.ip":"192.0.2.10","ai_model.name":"m","api.operation":"x","actor.user.name":"ana"}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(d map[string]any)
		want   string
	}{
		"required":   {func(d map[string]any) { delete(d, "api") }, "api: is required"},
		"in object":  {func(d map[string]any) { d["api"] = map[string]any{} }, "api.operation: is required"},
		"unknown":    {func(d map[string]any) { d["zzz"] = 1 }, "zzz: no attribute"},
		"type":       {func(d map[string]any) { d["message"] = 1 }, "message: 1 is no string"},
		"enum":       {func(d map[string]any) { d["severity_id"] = 42 }, `severity_id: "42" is none`},
		"array":      {func(d map[string]any) { d["resources"] = "x" }, "resources: is no array"},
		"object":     {func(d map[string]any) { d["actor"] = "x" }, "actor: is no object"},
		"address":    {func(d map[string]any) { d["src_endpoint"] = map[string]any{"ip": "x"} }, "src_endpoint.ip"},
		"constraint": {func(d map[string]any) { d["actor"] = map[string]any{} }, "actor: needs at least one"},
		"type_uid":   {func(d map[string]any) { d["type_uid"] = 1 }, "type_uid: 1, want"},
		"category":   {func(d map[string]any) { d["category_uid"] = 1 }, "category_uid: 1, but"},
		"class":      {func(d map[string]any) { d["class_uid"] = 777 }, "class_uid: 777 is no known"},
		"profile":    {func(d map[string]any) { delete(d["metadata"].(map[string]any), "profiles") }, "ai_model: needs the profile ai_operation"},
		"port":       {func(d map[string]any) { d["src_endpoint"] = map[string]any{"ip": "192.0.2.1", "port": 70000} }, "is no port"},
	} {
		var d map[string]any
		if err := json.Unmarshal(good, &d); err != nil {
			t.Fatal(err)
		}
		tt.change(d)
		doc, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		problems := s.Validate(doc)
		for _, p := range problems {
			found = found || strings.Contains(p.String(), tt.want)
		}
		if !found {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// Whatever an event holds, what is exported is valid.
func FuzzExport(f *testing.F) {
	f.Add([]byte(`{"class_uid":1007,"process.hashes":"SHA256=ab,x","file.path":"/a/"}`))
	f.Add([]byte(`{"class_uid":6003,"message_context.prompt_tokens":1,"finding_info.techniques":["T1"],"unmapped":"{\"a\":1"}`))
	f.Add([]byte(`{"class_uid":201002,"reg_key.path":"HKLM","reg_value.data":"1","actor.user.groups":["a","b"],"trace.span_uid":"x"}`))
	f.Add([]byte(`{"class_uid":4003,"dns.answers":"192.0.2.1","cloud.account":"1","database.type_id":77,"actor.user.email_addr":"no mail"}`))
	s := loaded(f)
	f.Fuzz(func(t *testing.T, row []byte) {
		doc, err := s.Append(nil, row)
		if err != nil {
			return
		}
		if p := s.Validate(doc); len(p) > 0 {
			t.Errorf("%v\n%s", p, doc)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	s := loaded(b)
	row := []byte(`{"event_uid":"c8dfaad0-c490-8eb7-8f9b-83a600000000","time":"2026-11-22T18:21:42.000Z","source":"nginx.access","class_uid":4002,"activity_id":6,"severity_id":1,"src_endpoint.ip":"192.0.2.10","http_request.method":"POST","http_request.path":"/v1","http_response.code":200}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Append(nil, row); err != nil {
			b.Fatal(err)
		}
	}
}
