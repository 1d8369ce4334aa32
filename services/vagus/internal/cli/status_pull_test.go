package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestPulls(t *testing.T) {
	all := parsePulls(strings.NewReader(`# HELP vagus_pull_up x
vagus_pull_up{name="trail",kind="s3"} 0
vagus_pull_up{name="falcon",kind="crowdstrike"} 1
vagus_pull_last_success_seconds{name="falcon",kind="crowdstrike"} 1800000000.5
vagus_pull_last_success_seconds{name="trail",kind="s3"} 0
vagus_pull_lag_seconds{name="trail",kind="s3"} 90
vagus_pull_error{name="trail",class="denied"} 1
vagus_pull_error{name="trail",class="server"} 0
vagus_pull_records_total{name="trail"} 7
`))
	if len(all) != 2 || all[0].Name != "falcon" || all[0].LastSuccess == nil || all[1].Error != "denied" || all[1].LagSeconds != 90 || all[1].LastSuccess != nil {
		t.Fatalf("%+v", all)
	}
	var b bytes.Buffer
	if err := printPulls(&b, all); err != nil || !strings.Contains(b.String(), "1m30s") {
		t.Errorf("%s %v", b.String(), err)
	}
}
