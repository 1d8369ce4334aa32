package finding

import "time"

// Disposition is what an analyst found an alert to be. Later ones replace
// earlier ones of the same alert.
type Disposition struct {
	Alert   string    `json:"alert"`   // uid
	Rule    string    `json:"rule"`    // id of the alert's rule
	Verdict Verdict   `json:"verdict"` // "" takes the earlier one back
	Note    string    `json:"note,omitempty"`
	By      string    `json:"by"` // who found it
	At      time.Time `json:"at"`
}

// Verdict is what an alert was.
type Verdict string

// The verdicts.
const (
	TruePositive  Verdict = "true_positive"  // an attack, or what the rule is for
	Benign        Verdict = "benign"         // what the rule describes, and allowed
	FalsePositive Verdict = "false_positive" // not what the rule describes
)

// Verdicts lists the verdicts.
var Verdicts = [...]Verdict{TruePositive, Benign, FalsePositive}
