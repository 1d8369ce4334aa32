package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestWriteOCSF(t *testing.T) {
	row := `{"event_uid":"c8dfaad0-c490-8eb7-8f9b-83a600000000","time":"2026-11-22 18:21:42.000","source":"nginx.access","class_uid":4002,"activity_id":6,"severity_id":1,"src_endpoint_ip":"::ffff:192.0.2.10","dst_endpoint_ip":"::","traffic_bytes_in":"0","http_request_method":"POST","http_request_path":"/v1","http_response_code":200,"message":"","metadata_labels":[],"table_only":1}`
	want := `{"activity_id":6,"category_uid":4,"class_uid":4002,"http_request":{"http_method":"POST","url":{"path":"/v1"}},"http_response":{"code":200},"metadata":{"product":{"name":"nginx.access","vendor_name":"nginx"},"uid":"c8dfaad0-c490-8eb7-8f9b-83a600000000","version":"1.8.0"},"severity_id":1,"src_endpoint":{"ip":"192.0.2.10"},"time":1795371702000,"type_uid":400206}` + "\n"
	var out bytes.Buffer
	if err := writeOCSF(&out, strings.NewReader(row+"\n")); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
