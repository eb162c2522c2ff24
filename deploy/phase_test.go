package deploy

import (
	"encoding/json"
	"testing"
)

func TestEveryPhaseHasANameAndSaysWhatItAwaits(t *testing.T) {
	names := map[string]bool{}
	for p := Planned; p <= Returned; p++ {
		if p.String() == "" || p.String() == "unknown" || names[p.String()] {
			t.Errorf("phase %d is called %q", int(p), p)
		}
		names[p.String()] = true
		if p.Awaits() == "" || p.Awaits() == "unknown" {
			t.Errorf("phase %s does not say what it awaits", p)
		}
	}
	for _, p := range []Phase{-1, Returned + 1} {
		if p.String() != "unknown" || p.Awaits() != "unknown" {
			t.Errorf("phase %d is %q and awaits %q, want unknown", int(p), p, p.Awaits())
		}
	}
}

func TestAPhaseIsItsNameInJSON(t *testing.T) {
	got, err := json.Marshal(map[string]Phase{"phase": PreStop})
	if want := `{"phase":"pre_stop"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
