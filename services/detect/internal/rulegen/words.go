// Package rulegen makes rules and events for measurements: deterministic, with
// the shapes and the value statistics that were observed on public rule sets
// and recorded Windows logs, but entirely made up.
package rulegen

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// gen is a seeded source of names.
type gen struct{ *rand.Rand }

func newGen(seed uint64) gen { return gen{rand.New(rand.NewPCG(seed, 0x5eed))} }

var (
	onset = strings.Fields("b br c ch cl cr d dr f fl g gr h j k kr l m n p ph pr qu r s sc sh sl sp st t th tr v w wr x z")
	core  = strings.Fields("a e i o u ai ea ee io ou oo")
	coda  = strings.Fields("n r s t l m d x ck nd rt st ng sh mp")
)

// word is a made-up word.
func (g gen) word(syllables int) string {
	var b strings.Builder
	for range syllables {
		b.WriteString(onset[g.IntN(len(onset))])
		b.WriteString(core[g.IntN(len(core))])
		if g.IntN(2) == 0 {
			b.WriteString(coda[g.IntN(len(coda))])
		}
	}
	return b.String()
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func one(g gen, list []string) string { return list[g.IntN(len(list))] }

// zipf picks early entries far more often than late ones.
func zipf(g gen, list []string) string {
	f := g.Float64()
	return list[int(f*f*f*float64(len(list)))]
}

func (g gen) guid() string {
	return fmt.Sprintf("{%08x-%04x-%04x-%04x-%012x}", g.Uint32(), g.Uint32()&0xffff, g.Uint32()&0xffff, g.Uint32()&0xffff, g.Uint64()&0xffffffffffff)
}

// Programs that events run, most frequent first, and that rules name.
var programs = strings.Fields(`svchost.exe conhost.exe backgroundTaskHost.exe RuntimeBroker.exe taskhostw.exe explorer.exe chrome.exe msedge.exe cmd.exe
 powershell.exe SearchIndexer.exe WmiPrvSE.exe dllhost.exe services.exe lsass.exe spoolsv.exe MsMpEng.exe python.exe node.exe git.exe code.exe
 teams.exe outlook.exe winword.exe excel.exe rundll32.exe regsvr32.exe mshta.exe wscript.exe cscript.exe schtasks.exe reg.exe net.exe net1.exe
 whoami.exe ipconfig.exe tasklist.exe sc.exe wmic.exe certutil.exe bitsadmin.exe msiexec.exe curl.exe nslookup.exe netsh.exe vssadmin.exe
 wevtutil.exe bcdedit.exe installutil.exe msbuild.exe csc.exe cmstp.exe odbcconf.exe forfiles.exe hh.exe pcalua.exe regasm.exe xwizard.exe
 esentutl.exe diskshadow.exe mavinject.exe print.exe findstr.exe expand.exe extrac32.exe makecab.exe nltest.exe dsquery.exe ping.exe w32tm.exe`)

var folders = []string{`C:\Windows\System32\`, `C:\Windows\SysWOW64\`, `C:\Program Files\Common Files\`, `C:\Program Files (x86)\Microsoft\Edge\Application\`,
	`C:\Users\alice\AppData\Local\Temp\`, `C:\Users\bob\Downloads\`, `C:\ProgramData\`, `C:\Windows\`}

// Fragments that ordinary command lines have and rules also look for.
var fragments = []string{" -enc ", " -nop ", "http://", "https://", " /c ", "reg add", "schtasks /create", "whoami", "net user", "cmd.exe", "powershell", " -w hidden",
	"\\appdata\\local\\temp", ".ps1", ".vbs", "downloadstring", "frombase64string", "javascript:", "localgroup administrators", "process call create", " -command "}

var registryRoots = []string{`HKLM\SYSTEM\CurrentControlSet\Services\`, `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\`, `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\`,
	`HKU\S-1-5-21-1111111111-2222222222-3333333333-1001\Software\Microsoft\Windows\CurrentVersion\Explorer\`, `HKLM\SOFTWARE\Classes\CLSID\`}

var registryNames = strings.Fields(`Start ImagePath Type ErrorControl Run RunOnce DisplayName Parameters Tcpip MRUList BagMRU UserAssist Enabled Debugger Shell Userinit`)
