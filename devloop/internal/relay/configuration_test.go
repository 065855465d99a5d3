package relay

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"devloop/internal/dap"
)

// sets is a request for breakpoints of a file.
func sets(seq int, path string, lines ...int) dap.Message {
	list := []map[string]int{}
	for _, line := range lines {
		list = append(list, map[string]int{"line": line})
	}
	m := dap.NewRequest("setBreakpoints", map[string]any{"source": map[string]string{"path": path}, "breakpoints": list, "sourceModified": false})
	m.Seq = seq
	return m
}

// numbered is a response that gives breakpoints these numbers, or none for 0.
func numbered(to dap.Message, ids ...int) dap.Message {
	list := []map[string]any{}
	for _, id := range ids {
		b := map[string]any{"verified": id != 0}
		if id != 0 {
			b["id"] = id
		}
		list = append(list, b)
	}
	return dap.NewResponse(to, map[string]any{"breakpoints": list, "more": 1})
}

func seqs(requests []dap.Message) []int {
	var out []int
	for _, m := range requests {
		out = append(out, m.Seq)
	}
	return out
}

func ids(response dap.Message) []int {
	var out []int
	for _, b := range breakpoints(response) {
		out = append(out, b.id())
	}
	return out
}

func TestConfigures(t *testing.T) {
	for command, want := range map[string]bool{
		"setBreakpoints": true, "setFunctionBreakpoints": true, "setExceptionBreakpoints": true,
		"configurationDone": false, "next": false, "setVariable": false, "": false,
	} {
		if got := configures(dap.NewRequest(command, nil)); got != want {
			t.Errorf("configures(%s) = %v, want %v", command, got, want)
		}
	}
}

// TestRecord keeps the latest request of each kind and file, in the order of
// the first.
func TestRecord(t *testing.T) {
	function := dap.NewRequest("setFunctionBreakpoints", map[string]any{"breakpoints": []map[string]string{{"name": "f"}}})
	exception := dap.NewRequest("setExceptionBreakpoints", map[string]any{"filters": []string{}})
	odd := dap.NewRequest("setBreakpoints", "no arguments at all")
	function.Seq, exception.Seq, odd.Seq = 90, 91, 92
	tests := []struct {
		name   string
		change func(c *configuration)
		want   []int // of what is missing
	}{
		{"nothing", func(*configuration) {}, nil},
		{"fresh", func(c *configuration) { c.record(sets(1, "a", 1)) }, nil},
		{"renewed", func(c *configuration) { c.record(sets(1, "a", 1)); c.renew() }, []int{1}},
		{"sent again", func(c *configuration) { c.record(sets(1, "a", 1)); c.renew(); c.record(sets(2, "a", 2)) }, nil},
		{"renewed twice", func(c *configuration) { c.record(sets(1, "a", 1)); c.renew(); c.record(sets(2, "a", 2)); c.renew() }, []int{2}},
		{"each kind and file", func(c *configuration) {
			for _, m := range []dap.Message{sets(1, "a", 1), function, sets(2, "b", 1), exception, odd, sets(3, "a", 2)} {
				c.record(m)
			}
			c.renew()
		}, []int{3, 90, 2, 91, 92}},
		{"some sent again", func(c *configuration) {
			for _, m := range []dap.Message{sets(1, "a", 1), function, sets(2, "b", 1)} {
				c.record(m)
			}
			c.renew()
			c.record(sets(3, "b", 2))
		}, []int{1, 90}},
		{"forgotten", func(c *configuration) {
			c.record(sets(1, "a", 1))
			c.record(sets(2, "b", 1))
			c.forget(sets(1, "a", 1))
			c.renew()
		}, []int{2}},
		{"not the one that is forgotten", func(c *configuration) {
			c.record(sets(1, "a", 1))
			c.forget(sets(9, "a", 1))
			c.forget(sets(1, "elsewhere", 1))
			c.renew()
		}, []int{1}},
	}
	for _, tt := range tests {
		var c configuration
		tt.change(&c)
		if got := seqs(c.missing()); !slices.Equal(got, tt.want) {
			t.Errorf("%s: missing() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestCleared(t *testing.T) {
	var c configuration
	c.record(sets(1, "a", 1, 2))
	c.record(dap.NewRequest("setExceptionBreakpoints", map[string]any{"filters": []string{"x"}}))
	c.record(dap.NewRequest("setFunctionBreakpoints", map[string]any{"breakpoints": []map[string]string{{"name": "f"}}}))
	c.record(dap.NewRequest("setBreakpoints", []int{1}))
	want := []string{
		`setBreakpoints {"breakpoints":[],"source":{"path":"a"},"sourceModified":false}`,
		`setFunctionBreakpoints {"breakpoints":[]}`,
	}
	var got []string
	for _, m := range c.cleared() {
		got = append(got, m.Command+" "+string(m.Raw("arguments")))
	}
	if !slices.Equal(got, want) {
		t.Errorf("cleared() = %q, want %q", got, want)
	}
	c.renew()
	if got, want := string(c.missing()[0].Raw("arguments")), string(sets(1, "a", 1, 2).Raw("arguments")); got != want {
		t.Errorf("after cleared() the request is %s, want it as it was: %s", got, want)
	}
}

// TestAnswered gives each breakpoint a number that stays.
func TestAnswered(t *testing.T) {
	request := sets(1, "a", 1, 2, 3)
	failure := dap.NewFailure(request, "no")
	tests := []struct {
		name     string
		response dap.Message
		want     []int
	}{
		{"all by dlv", numbered(request, 4, 5, 6), []int{4, 5, 6}},
		{"some by dlv", numbered(request, 0, 5, 0), []int{ownNumbers + 1, 5, ownNumbers + 2}},
		{"none at all", numbered(request), nil},
		{"a failure", failure, nil},
		{"no body", dap.NewResponse(request, nil), nil},
		{"an odd body", dap.NewResponse(request, map[string]any{"breakpoints": "x"}), nil},
	}
	for _, tt := range tests {
		var c configuration
		c.record(request)
		numbers := map[int]int{5: 1} // of a breakpoint before, whose number dlv gives again
		got := c.answered(request, tt.response, numbers)
		if !slices.Equal(ids(got), tt.want) || got.Success != tt.response.Success {
			t.Errorf("%s: answered() = %v, %v, want %v", tt.name, ids(got), got.Success, tt.want)
		}
		if _, stale := numbers[5]; stale && slices.Contains(tt.want, 5) {
			t.Errorf("%s: number 5 still stands for another", tt.name)
		}
		var body struct{ More int }
		if err := got.Field("body", &body); len(tt.want) > 0 && (err != nil || body.More != 1) {
			t.Errorf("%s: the rest of the body is %+v, %v, want it as it was", tt.name, body, err)
		}
	}
	var c configuration
	if got := c.answered(request, numbered(request, 0), map[int]int{}); !slices.Equal(ids(got), []int{0}) {
		t.Errorf("answered() of what was not recorded = %v, want it as it was", ids(got))
	}
}

// TestReplayed tells the editor of its breakpoints under the numbers it knows.
func TestReplayed(t *testing.T) {
	request := sets(1, "a", 1, 2)
	tests := []struct {
		name     string
		known    []int // by dlv in the first process
		response dap.Message
		events   string
		numbers  map[int]int
	}{
		{"the same numbers", []int{4, 5}, numbered(request, 4, 5), "[4 true 5 true]", map[int]int{4: 4, 5: 5}},
		{"other numbers", []int{4, 5}, numbered(request, 1, 4), "[4 true 5 true]", map[int]int{1: 4, 4: 5}},
		{"one has gone", []int{4, 5}, numbered(request, 0, 1), "[4 false 5 true]", map[int]int{1: 5}},
		{"one has come", []int{0, 5}, numbered(request, 1, 2), fmt.Sprintf("[%d true 5 true]", ownNumbers+1), map[int]int{1: ownNumbers + 1, 2: 5}},
		{"more than there were", []int{4}, numbered(request, 1, 2), "[4 true]", map[int]int{1: 4}},
		{"never answered", nil, numbered(request, 1, 2), "[]", map[int]int{}},
		{"a failure", []int{4, 5}, dap.NewFailure(request, "no"), "[]", map[int]int{}},
	}
	for _, tt := range tests {
		var c configuration
		c.record(request)
		if tt.known != nil {
			c.answered(request, numbered(request, tt.known...), map[int]int{})
		}
		c.renew()
		numbers := make(map[int]int)
		events := []any{}
		for _, m := range c.replayed(request, tt.response, numbers) {
			var body struct {
				Reason     string
				Breakpoint struct {
					ID       int
					Verified bool
				}
			}
			if err := m.Field("body", &body); err != nil || m.Event != "breakpoint" || body.Reason != "changed" {
				t.Errorf("%s: %s: %+v, %v, want a changed breakpoint", tt.name, m.Event, body, err)
			}
			events = append(events, body.Breakpoint.ID, body.Breakpoint.Verified)
		}
		if fmt.Sprint(events) != tt.events || fmt.Sprint(numbers) != fmt.Sprint(tt.numbers) {
			t.Errorf("%s: replayed() = %v, numbers %v, want %v, %v", tt.name, events, numbers, tt.events, tt.numbers)
		}
	}
}

func TestRenumber(t *testing.T) {
	numbers := map[int]int{1: 4, 4: 5}
	tests := []struct{ body, want string }{
		{`{"hitBreakpointIds":[1],"reason":"x"}`, `{"hitBreakpointIds":[4],"reason":"x"}`},
		{`{"hitBreakpointIds":[4,2,1]}`, `{"hitBreakpointIds":[5,2,4]}`},
		{`{"hitBreakpointIds":[]}`, `{"hitBreakpointIds":[]}`},
		{`{"reason":"x"}`, `{"reason":"x"}`},
		{`{"hitBreakpointIds":"x"}`, `{"hitBreakpointIds":"x"}`},
		{`[]`, `[]`},
	}
	for _, tt := range tests {
		got := renumber(dap.NewEvent("stopped", json.RawMessage(tt.body)), numbers)
		if string(got.Raw("body")) != tt.want {
			t.Errorf("renumber(%s) = %s, want %s", tt.body, got.Raw("body"), tt.want)
		}
	}
}
