package secret

import (
	"bytes"
	"strings"
	"testing"

	"workspace-server/internal/workspace"
)

func TestCheck(t *testing.T) {
	tests := []struct {
		name, value string
		want        string // part of the error; empty: none
	}{
		{"API_KEY", "hunter2", ""},
		{"_x9", "", ""},
		{strings.Repeat("A", MaxName), strings.Repeat("x", MaxValue), ""},
		{"", "", "name must be one for an environment variable"},
		{"9A", "", "name must be one for an environment variable"},
		{"A-B", "", "name must be one for an environment variable"},
		{"A=B", "", "name must be one for an environment variable"},
		{"../A", "", "name must be one for an environment variable"},
		{"É", "", "name must be one for an environment variable"},
		{"A\x00", "", "name must be one for an environment variable"},
		{strings.Repeat("A", MaxName+1), "", "at most 128 characters"},
		{"WORKSPACE_ID", "", "belong to the platform"},
		{"PLATFORM_URL", "", "belong to the platform"},
		{"A", strings.Repeat("x", MaxValue+1), "at most 32 KiB"},
		{"A", "a\x00b", "without a zero byte"},
		{"A", "\xff", "must be UTF-8 text"},
	}
	for _, tt := range tests {
		err := Place{Name: tt.name}.Check()
		if err == nil {
			err = CheckValue(tt.value)
		}
		if tt.want == "" && err != nil || tt.want != "" && (workspace.KindOf(err) != workspace.Invalid || !strings.Contains(workspace.Message(err), tt.want)) {
			t.Errorf("Check of %q with %.20q = %v, want %q", tt.name, tt.value, err, tt.want)
		}
	}
}

// A box opens with its key, at its place, and unchanged; else it does not.
func TestSeal(t *testing.T) {
	old, now := NewKey(), NewKey()
	ring := Keyring{now, old}
	at := Place{"ws_a", "NAME"}
	for _, value := range []string{"", "hunter2", strings.Repeat("é", 1000)} {
		box := ring.Seal(at, value)
		if got, err := ring.Open(at, box); err != nil || got != value {
			t.Errorf("Open(Seal(%.20q)) = %.20q, %v, want the same", value, got, err)
		}
		if value != "" && bytes.Contains(box.Box, []byte(value)) || box.Key != now.ID() {
			t.Errorf("Seal(%.20q) = key %s, box %.40x, want the first key's, and nothing to read", value, box.Key, box.Box)
		}
		if again := ring.Seal(at, value); bytes.Equal(again.Box, box.Box) {
			t.Errorf("Seal(%.20q) is the same twice, want another nonce", value)
		}
	}
	box := Keyring{old}.Seal(at, "hunter2")
	if got, err := ring.Open(at, box); err != nil || got != "hunter2" {
		t.Errorf("Open with the second key = %q, %v, want the value", got, err)
	}
	changed := Sealed{box.Key, bytes.Clone(box.Box)}
	changed.Box[len(changed.Box)-1] ^= 1
	tests := []struct {
		name string
		ring Keyring
		at   Place
		box  Sealed
	}{
		{"of another workspace", ring, Place{"ws_b", "NAME"}, box},
		{"for all", ring, Place{"", "NAME"}, box},
		{"under another name", ring, Place{"ws_a", "OTHER"}, box},
		{"changed", ring, at, changed},
		{"cut short", ring, at, Sealed{box.Key, box.Box[:5]}},
		{"empty", ring, at, Sealed{box.Key, nil}},
		{"without its key", Keyring{now}, at, box},
		{"under another key's name", ring, at, Sealed{now.ID(), box.Box}},
	}
	for _, tt := range tests {
		if got, err := tt.ring.Open(tt.at, tt.box); err == nil || got != "" || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open of a box %s = %q, %v, want an error", tt.name, got, err)
		}
	}
}

func TestKeyring(t *testing.T) {
	ring := Keyring{NewKey(), NewKey()}
	got, err := ParseKeyring(ring.Text())
	if err != nil || len(got) != 2 || got[0] != ring[0] || got[1] != ring[1] {
		t.Errorf("ParseKeyring(Text()) = %v, want the same", err)
	}
	line := string(ring[:1].Text())
	for _, text := range []string{"", "\n", "junk\n", line + "\n", line[:len(line)-3], line + "c2hvcnQ=\n", strings.Replace(line, "\n", "\nx\n", 1)} {
		if _, err := ParseKeyring([]byte(text)); err == nil || len(text) > 10 && strings.Contains(err.Error(), text[:10]) {
			t.Errorf("ParseKeyring of %d bytes = %v, want an error that shows none of them", len(text), err)
		}
	}
}
