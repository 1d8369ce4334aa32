package rulegen

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Mix says which kinds of event a block holds.
type Mix string

// The mixes: as recorded (few process creations, many accesses), all kinds
// alike, and process creations only (half of the rules look at those).
const (
	Natural  Mix = "natural"
	Balanced Mix = "balanced"
	Process  Mix = "process"
)

// shares of the kinds of event, in the order of kinds.
var shares = map[Mix][]float64{
	Natural:  {0.0034, 0.42, 0.17, 0.14, 0.06, 0.05, 0.1566},
	Balanced: {1. / 7, 1. / 7, 1. / 7, 1. / 7, 1. / 7, 1. / 7, 1. / 7},
	Process:  {1, 0, 0, 0, 0, 0, 0},
}

var kinds = []func(*Generator){(*Generator).process, (*Generator).access, (*Generator).registry, (*Generator).load, (*Generator).file, (*Generator).network, (*Generator).terminate}

// Generator makes blocks of Windows host events as a Sysmon mapping gives them.
type Generator struct {
	g     gen
	b     *block.Builder
	mix   []float64
	n     uint32
	keys  []string // registry names in use
	files []string
	dlls  []string
	users []string
}

// NewGenerator makes a generator; equal arguments give equal blocks.
func NewGenerator(mix Mix, seed uint64) *Generator {
	x := &Generator{g: newGen(seed), b: block.NewBuilder(event.FamilyHost), mix: shares[mix]}
	for range 3000 {
		x.keys = append(x.keys, title(x.g.word(2+x.g.IntN(2))))
		x.files = append(x.files, x.g.word(2)+one(x.g, []string{".log", ".tmp", ".dat", ".json", ".txt", ".dll", ".exe", ".ps1"}))
	}
	for range 800 {
		x.dlls = append(x.dlls, `C:\Windows\System32\`+x.g.word(3)+".dll")
	}
	x.users = []string{`NT AUTHORITY\SYSTEM`, `NT AUTHORITY\NETWORK SERVICE`, `CORP\alice`, `CORP\bob`, `CORP\svc-backup`, `CORP\carol`}
	return x
}

// Block returns the payload of the next n events.
func (x *Generator) Block(n int) []byte {
	x.b.Reset()
	for range n {
		f := x.g.Float64()
		for i, share := range x.mix {
			if f -= share; f < 0 || i == len(x.mix)-1 {
				x.common()
				kinds[i](x)
				break
			}
		}
		x.b.EndRow()
	}
	return x.b.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: "microsoft.sysmon"})
}

func (x *Generator) common() {
	x.n++
	x.b.SetUUID(event.EventUID, block.UID("rulegen", x.n))
	x.b.SetInt(event.Time, 1767225600000+int64(x.n))
	x.b.SetInt(event.ReceivedAt, 1767225600000+int64(x.n))
	x.b.SetString(event.Source, "microsoft.sysmon")
	x.b.SetString(event.DeviceHostname, fmt.Sprintf("WS-%03d.corp.example.com", x.g.IntN(40)))
	x.b.SetString(event.MetadataLogName, "Microsoft-Windows-Sysmon/Operational")
	x.b.SetString(event.ActorUserName, zipf(x.g, x.users))
}

func (x *Generator) kind(class uint32, code string) {
	x.b.SetInt(event.ClassUID, int64(class))
	x.b.SetString(event.MetadataEventCode, code)
}

func (x *Generator) image() string { return zipf(x.g, folders) + zipf(x.g, programs) }

func (x *Generator) commandLine(image string) string {
	g := x.g
	switch g.IntN(6) {
	case 0:
		return `"` + image + `"`
	case 1:
		return image + ` -k netsvcs -p -s ` + one(g, x.keys)
	case 2:
		return fmt.Sprintf(`"%s" --type=renderer --field-trial-handle=%d,%d,131072 --lang=en-US --device-scale-factor=1 --renderer-client-id=%d`, image, g.IntN(9999), g.Uint32(), g.IntN(500))
	case 3:
		return fmt.Sprintf(`cmd.exe /c "%s %s%s > C:\Users\alice\AppData\Local\Temp\%s 2>&1"`, image, zipf(g, folders), one(g, x.files), one(g, x.files))
	case 4:
		return fmt.Sprintf(`powershell.exe -NoProfile -ExecutionPolicy Bypass -File "%s%s" -Id %s`, zipf(g, folders), one(g, x.files), g.guid())
	}
	return fmt.Sprintf(`%s%s /%s %s -%s %d`, image, strings.ToLower(zipf(g, fragments)), one(g, x.keys), one(g, x.files), g.word(2), g.IntN(100000))
}

func (x *Generator) hashes() string {
	return fmt.Sprintf("SHA256=%016X%016X,IMPHASH=%016X", x.g.IntN(4000), 77, x.g.IntN(4000))
}

func (x *Generator) process() {
	x.kind(event.ClassProcessActivity, "1")
	x.b.SetInt(event.ActivityID, 1)
	image, parent := x.image(), x.image()
	name := image[strings.LastIndexByte(image, '\\')+1:]
	x.b.SetString(event.ProcessPath, image)
	x.b.SetString(event.ProcessName, name)
	x.b.SetString(event.ProcessCmdLine, x.commandLine(image))
	x.b.SetString(event.ProcessOriginalFileName, strings.ToUpper(name))
	x.b.SetString(event.ProcessParentProcessPath, parent)
	x.b.SetString(event.ProcessParentProcessName, parent[strings.LastIndexByte(parent, '\\')+1:])
	x.b.SetString(event.ProcessParentProcessCmdLine, x.commandLine(parent))
	x.b.SetString(event.ProcessWorkingDirectory, zipf(x.g, folders))
	x.b.SetString(event.ProcessIntegrity, one(x.g, []string{"System", "Medium", "High"}))
	x.b.SetString(event.ProcessCompany, "Microsoft Corporation")
	x.b.SetString(event.ProcessDescription, title(name))
	x.b.SetString(event.ProcessHashes, x.hashes())
	x.b.SetInt(event.ProcessPID, int64(x.g.IntN(60000)))
}

func (x *Generator) access() {
	x.kind(event.ClassProcessActivity, "10")
	x.b.SetInt(event.ActivityID, 3)
	x.b.SetString(event.ActorProcessPath, x.image())
	x.b.SetString(event.ProcessPath, x.image())
	x.b.SetString(event.ProcessGrantedAccess, one(x.g, []string{"0x1000", "0x1400", "0x1410", "0x1fffff", "0x40", "0x3000"}))
	x.b.SetString(event.ProcessCallTrace, fmt.Sprintf(`C:\Windows\SYSTEM32\ntdll.dll+%x|C:\Windows\System32\KERNELBASE.dll+%x|%s+%x`,
		0x9c000+x.g.IntN(60), 0x2c000+x.g.IntN(60), one(x.g, x.dlls), x.g.IntN(200)))
}

func (x *Generator) registry() {
	x.kind(event.ClassRegistryValueActivity, "13")
	x.b.SetString(event.ActorProcessPath, x.image())
	x.b.SetString(event.RegKeyPath, zipf(x.g, registryRoots)+one(x.g, x.keys)+`\`+one(x.g, registryNames))
	x.b.SetString(event.RegValueData, one(x.g, []string{"DWORD (0x00000001)", "Binary Data", "(Empty)", x.image(), "DWORD (0x00000004)"}))
}

func (x *Generator) load() {
	x.kind(event.ClassModuleActivity, "7")
	x.b.SetString(event.ActorProcessPath, x.image())
	x.b.SetString(event.FilePath, zipf(x.g, x.dlls))
	x.b.SetString(event.FileHashes, x.hashes())
	x.b.SetString(event.FileSigned, one(x.g, []string{"true", "true", "true", "false"}))
	x.b.SetString(event.FileSignature, one(x.g, []string{"Microsoft Windows", "Microsoft Corporation", ""}))
}

func (x *Generator) file() {
	x.kind(event.ClassFileActivity, "11")
	x.b.SetString(event.ActorProcessPath, x.image())
	x.b.SetString(event.FilePath, zipf(x.g, folders)+fmt.Sprintf("%x-", x.g.IntN(5000))+one(x.g, x.files))
}

func (x *Generator) network() {
	x.kind(event.ClassNetworkActivity, "3")
	x.b.SetString(event.ActorProcessPath, x.image())
	x.b.SetIP(event.DstEndpointIP, netip.AddrFrom4([4]byte{198, 51, 100, byte(x.g.IntN(250))}))
	x.b.SetInt(event.DstEndpointPort, []int64{443, 80, 53, 445, 8443, 22}[x.g.IntN(6)])
	x.b.SetString(event.DstEndpointHostname, one(x.g, x.keys)+".example.com")
	x.b.SetString(event.ConnectionInfoProtocolName, "tcp")
}

func (x *Generator) terminate() {
	x.kind(event.ClassProcessActivity, "5")
	x.b.SetInt(event.ActivityID, 2)
	x.b.SetString(event.ProcessPath, x.image())
}
