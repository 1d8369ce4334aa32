package store

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

var words = strings.Fields("please summarise the quarterly report and list every risk that the auditors found in model deployment pipelines then write an email to operations about token budgets gateway latency vector stores retrieval quality prompt templates agents tools policies nodes pods secrets namespaces rollouts images registry training jobs dataset lineage evaluation")

func sentence(r *rand.Rand, n int) string {
	var sb strings.Builder
	for sb.Len() < n {
		sb.WriteString(words[r.IntN(len(words))])
		sb.WriteByte(' ')
	}
	return sb.String()
}

func hexed(r *rand.Rand) string { return fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()) }

// mixed makes a block of one family with the columns that its sources fill.
func mixed(r *rand.Rand, f event.Family, seq uint64, rows int) []byte {
	b := block.NewBuilder(f)
	src := map[event.Family]string{event.FamilyAI: "litellm.proxy", event.FamilyNetwork: "nginx.access", event.FamilyAPI: "kubernetes.audit", event.FamilyHost: "microsoft.sysmon"}[f]
	now := time.Now().UnixMilli()
	one := func(p string, n int) string { return p + strconv.Itoa(r.IntN(n)) }
	for i := range rows {
		b.SetUUID(event.EventUID, block.UID(fmt.Sprint("m", seq), uint32(i)))
		b.SetInt(event.Time, now-int64(r.IntN(2000)))
		b.SetInt(event.ReceivedAt, now)
		b.SetString(event.Source, src)
		b.SetInt(event.ClassUID, 6003)
		b.SetInt(event.ActivityID, int64(r.IntN(5)))
		b.SetString(event.ActivityName, one("activity", 5))
		b.SetInt(event.SeverityID, 1)
		b.SetInt(event.StatusID, int64(1+r.IntN(2)))
		b.SetInt(event.Duration, int64(r.IntN(5000)))
		b.SetString(event.ActorUserName, one("user", 400))
		b.SetIP(event.SrcEndpointIP, netip.AddrFrom4([4]byte{203, 0, 113, byte(r.IntN(256))}))
		switch f {
		case event.FamilyAI:
			user := r.IntN(300) // who uses one key, belongs to one team
			b.SetString(event.ActorUserName, "user"+strconv.Itoa(user))
			b.SetString(event.ActorUserCredentialUID, "key-hash-"+strconv.Itoa(user))
			b.SetString(event.ActorUserOrg, "team"+strconv.Itoa(user%20))
			b.SetString(event.AIOperation, "chat")
			b.SetString(event.AIModelName, one("gpt-", 8))
			b.SetString(event.AIModelAIProvider, one("provider", 4))
			b.SetInt(event.MessageContextPromptTokens, int64(r.IntN(900)))
			b.SetInt(event.MessageContextCompletionTokens, int64(r.IntN(900)))
			b.SetInt(event.MessageContextTotalTokens, int64(r.IntN(1800)))
			b.SetFloat(event.AICost, r.Float64()/100)
			b.SetString(event.MessageContextPromptText, sentence(r, 200))
			b.SetString(event.MessageContextResponseText, sentence(r, 200))
			b.SetString(event.MetadataCorrelationUID, hexed(r))
			b.SetString(event.AIResponseUID, "chatcmpl-"+hexed(r))
			b.SetString(event.TraceUID, hexed(r))
			b.SetString(event.Unmapped, `{"cache_key":"`+hexed(r)+`","response_cost":0.0`+strconv.Itoa(r.IntN(9999))+`}`)
		case event.FamilyNetwork:
			b.SetString(event.HTTPRequestMethod, "POST")
			b.SetString(event.HTTPRequestPath, one("/v1/chat/completions/", 30))
			b.SetString(event.HTTPRequestHostname, one("api", 5)+".example.com")
			b.SetString(event.HTTPRequestUserAgent, one("python-requests/2.", 60))
			b.SetInt(event.HTTPResponseCode, 200)
			b.SetInt(event.HTTPResponseLength, int64(r.IntN(90000)))
			b.SetString(event.MetadataCorrelationUID, hexed(r))
		case event.FamilyAPI:
			b.SetString(event.APIOperation, one("verb", 8))
			b.SetString(event.APIService, one("group", 20))
			b.SetInt(event.APIResponseCode, 200)
			b.SetString(event.ResourceType, one("pods", 30))
			b.SetString(event.ResourceName, one("deployment-", 3000))
			b.SetString(event.ResourceNamespace, one("ns", 40))
			b.SetString(event.HTTPRequestUserAgent, one("kubectl/1.", 40))
			b.SetString(event.HTTPRequestPath, one("/api/v1/namespaces/x/pods/", 3000))
			b.SetString(event.AuthorizationDecision, "allow")
			b.SetString(event.AuthorizationReason, one("RBAC: allowed by ", 50))
			b.SetString(event.MetadataOriginalUID, hexed(r))
			b.SetString(event.ResourceData, `{"metadata":{"name":"`+sentence(r, 150)+`"}}`)
		case event.FamilyHost:
			b.SetString(event.DeviceHostname, one("host", 60))
			b.SetString(event.MetadataEventCode, one("", 25))
			b.SetInt(event.ProcessPID, int64(r.IntN(60000)))
			b.SetString(event.ProcessUID, hexed(r))
			b.SetString(event.ProcessName, one("proc", 200)+".exe")
			b.SetString(event.ProcessPath, `C:\Windows\System32\`+one("proc", 200)+".exe")
			b.SetString(event.ProcessCmdLine, one("proc.exe -run ", 5000)+sentence(r, 60))
			b.SetString(event.ProcessHashes, one("SHA256=AAAABBBBCCCCDDDDEEEEFFFF", 500))
			b.SetString(event.ProcessParentProcessName, one("proc", 100))
			b.SetString(event.ProcessParentProcessPath, `C:\Windows\`+one("proc", 100))
		}
		b.EndRow()
	}
	return b.AppendTo(nil, block.Header{Source: src, RawSeq: seq, In: uint32(rows), Received: now})
}

// BenchmarkStore stores b.N events of a mixed corpus with their raw records
// (about 760 bytes) that wait in the bus, and reports the CPU time of the
// engine (merges until then included) and of this process, bus included.
func BenchmarkStore(b *testing.B) {
	e := embeddedtest.Engine(b)
	for _, tc := range []struct {
		name    string
		streams []string
	}{{"events", []string{subjects.StreamEvents}}, {"raw", []string{subjects.StreamRaw}}} {
		b.Run(tc.name, func(b *testing.B) {
			c := open(b, e)
			nb := testkit.Bus(b)
			o := options(nb, c)
			d := DefaultOptions()
			o.Linger, o.MaxWait, o.Streams = d.Linger, d.MaxWait, tc.streams
			if mb, _ := strconv.Atoi(os.Getenv("VAGUS_BENCH_MB")); mb > 0 {
				o.MaxBytes, o.MaxRows = mb<<20, 1<<20
			}
			s, err := New(o)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Migrate(b.Context()); err != nil {
				b.Fatal(err)
			}
			for _, sql := range strings.Split(os.Getenv("VAGUS_BENCH_SQL"), ";") {
				if sql = strings.TrimSpace(sql); sql != "" {
					if err := c.Exec(b.Context(), sql); err != nil {
						b.Fatal(err)
					}
				}
			}
			r := rand.New(rand.NewPCG(1, 2))
			const rows = 300
			families := []event.Family{event.FamilyAI, event.FamilyNetwork, event.FamilyAPI, event.FamilyHost, event.FamilyAI, event.FamilyNetwork}
			var all [][]byte // made once, the uids do not matter here
			for i := range 60 {
				if tc.name == "events" {
					all = append(all, mixed(r, families[i%len(families)], uint64(i), rows))
					continue
				}
				rb := block.NewRawBuilder()
				for j := range rows {
					rb.Append(block.UID(fmt.Sprint(i), uint32(j)), time.Now().UnixMilli(), []byte(`{"id":"`+hexed(r)+`","user":"`+hexed(r)+`","text":"`+sentence(r, 680)+`"}`))
				}
				all = append(all, rb.AppendTo(nil, block.Header{Source: "litellm.proxy", Received: time.Now().UnixMilli()}))
			}
			n := b.N/rows + 1
			for i := range n {
				data, subject := all[i%len(all)], subjects.Raw("litellm.proxy")
				if tc.name == "events" {
					subject = subjects.Events("x")
				}
				if err := nb.PublishAsync(b.Context(), bus.Msg{Subject: subject, ID: fmt.Sprint("x", i), Data: data}, func(_ bus.Ack, err error) {
					if err != nil {
						b.Error(err)
					}
				}); err != nil {
					b.Fatal(err)
				}
			}
			engine, self := processCPU(b, e.PID()), selfCPU()
			b.ResetTimer()
			stop := running(b, o)
			stage := map[bool]string{true: "store", false: "ingest"}[tc.name == "events"]
			eventually(b, c, fmt.Sprintf("(SELECT sum(`out`) FROM ledger WHERE stage = '%s')", stage), int64(n*rows))
			b.StopTimer()
			b.ReportMetric(float64(processCPU(b, e.PID())-engine)/float64(n*rows)/1e3, "engine-µs/event")
			b.ReportMetric(float64(selfCPU()-self)/float64(n*rows)/1e3, "go-µs/event")
			b.ReportMetric(float64(n*rows)/b.Elapsed().Seconds(), "events/s")
			var parts, marks uint64
			_ = c.QueryRow(b.Context(), "SELECT count(), sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase() AND active AND table IN ('raw','events_ai','events_api','events_host','events_network')").Scan(&parts, &marks)
			b.ReportMetric(float64(marks)/float64(n*rows), "disk-B/event")
			if err := stop(); err != nil {
				b.Error(err)
			}
		})
	}
}

// processCPU is the CPU time that a process has used, in ns.
func processCPU(b *testing.B, pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skip(err)
	}
	f := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	user, _ := strconv.ParseInt(f[11], 10, 64)
	sys, _ := strconv.ParseInt(f[12], 10, 64)
	if testing.Verbose() {
		b.Logf("user %d ms, system %d ms", user*10, sys*10)
	}
	return (user + sys) * int64(time.Second/100)
}

func selfCPU() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
