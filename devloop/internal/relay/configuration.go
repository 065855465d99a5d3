package relay

import (
	"encoding/json"
	"slices"
	"strconv"

	"devloop/internal/dap"
)

// A configuration is what an editor has set, to be set again in
// another process: the latest request of each kind and, of those that concern
// one source file, of each file.
type configuration struct {
	entries  []entry // in the order in which they were first sent
	numbered int     // breakpoints that got a number of our own
}

// ownNumbers is above all numbers of breakpoints that dlv gives.
const ownNumbers = 1 << 30

type entry struct {
	key     string
	request dap.Message
	fresh   bool  // sent to the present process
	ids     []int // the editor's numbers of its breakpoints, in the request's order
}

// configures reports whether a request sets something that lasts.
func configures(m dap.Message) bool { return kindOf(m) == configure }

func keyOf(m dap.Message) string {
	var arguments struct {
		Source struct {
			Path string `json:"path"`
		} `json:"source"`
	}
	_ = m.Field("arguments", &arguments) // dlv will refuse it
	return m.Command + " " + arguments.Source.Path
}

// record notes a request that configures.
func (c *configuration) record(m dap.Message) {
	key := keyOf(m)
	if i := c.find(key); i >= 0 {
		c.entries[i].request, c.entries[i].fresh = m, true
		return
	}
	c.entries = append(c.entries, entry{key: key, request: m, fresh: true})
}

func (c *configuration) find(key string) int {
	return slices.IndexFunc(c.entries, func(e entry) bool { return e.key == key })
}

// renew notes that nothing of it was sent to the present process.
func (c *configuration) renew() {
	for i := range c.entries {
		c.entries[i].fresh = false
	}
}

// missing returns the requests that were not sent to the present process.
func (c *configuration) missing() []dap.Message {
	var requests []dap.Message
	for _, e := range c.entries {
		if !e.fresh {
			requests = append(requests, e.request)
		}
	}
	return requests
}

// cleared returns requests that take all breakpoints away.
func (c *configuration) cleared() []dap.Message {
	var requests []dap.Message
	for _, e := range c.entries {
		arguments := make(map[string]json.RawMessage)
		if e.request.Field("arguments", &arguments) == nil && arguments["breakpoints"] != nil {
			arguments["breakpoints"] = json.RawMessage("[]")
			requests = append(requests, dap.NewRequest(e.request.Command, arguments))
		}
	}
	return requests
}

// A breakpoint is what a response says of one; the rest is kept as it is.
type breakpoint map[string]json.RawMessage

func (b breakpoint) id() int { return b.number("id") }

func (b breakpoint) number(name string) int {
	var n int
	_ = json.Unmarshal(b[name], &n) // 0 if there is none
	return n
}

func (b breakpoint) text(name string) string {
	var text string
	_ = json.Unmarshal(b[name], &text) // "" if there is none
	return text
}

func (b breakpoint) set(name string, value int) { b[name] = json.RawMessage(strconv.Itoa(value)) }

// breakpoints returns those of a response, in the order of the request.
func breakpoints(response dap.Message) []breakpoint {
	var body struct {
		Breakpoints []breakpoint `json:"breakpoints"`
	}
	_ = response.Field("body", &body) // none
	return body.Breakpoints
}

// forget drops a request that was never carried out.
func (c *configuration) forget(m dap.Message) {
	if i := c.find(keyOf(m)); i >= 0 && c.entries[i].request.Seq == m.Seq {
		c.entries = slices.Delete(c.entries, i, i+1)
	}
}

// answered notes under which numbers the editor will know its breakpoints, and
// returns the response for it: dlv gives no number to a breakpoint that it
// cannot set, although a later build may have a place for it. Numbers maps
// dlv's to those that the editor knew before.
func (c *configuration) answered(request, response dap.Message, numbers map[int]int) dap.Message {
	i := c.find(keyOf(request))
	if i < 0 || !response.Success {
		return response
	}
	list := breakpoints(response)
	c.entries[i].ids = make([]int, len(list))
	for n, b := range list {
		id := b.id()
		if id == 0 {
			c.numbered++
			id = ownNumbers + c.numbered
			b.set("id", id)
		}
		delete(numbers, id)
		c.entries[i].ids[n] = id
	}
	if len(list) == 0 {
		return response
	}
	body := make(map[string]json.RawMessage)
	_ = response.Field("body", &body) // it was read just now
	body["breakpoints"], _ = json.Marshal(list)
	return response.With("body", body)
}

// replayed compares what came of a request that was sent again with what the
// editor knows: its numbers for the new ones, and the events that tell it how
// its breakpoints are now.
func (c *configuration) replayed(request, response dap.Message, numbers map[int]int) []dap.Message {
	i := c.find(keyOf(request))
	if i < 0 || !response.Success {
		return nil
	}
	var events []dap.Message
	for n, b := range breakpoints(response) {
		if n >= len(c.entries[i].ids) || c.entries[i].ids[n] == 0 {
			continue
		}
		known := c.entries[i].ids[n]
		if id := b.id(); id != 0 {
			numbers[id] = known
		}
		b.set("id", known)
		events = append(events, dap.NewEvent("breakpoint", map[string]any{"reason": "changed", "breakpoint": b}))
	}
	return events
}

// renumber has a "stopped" event name breakpoints as the editor knows them.
func renumber(m dap.Message, numbers map[int]int) dap.Message {
	body := make(map[string]json.RawMessage)
	var ids []int
	if m.Field("body", &body) != nil || json.Unmarshal(body["hitBreakpointIds"], &ids) != nil {
		return m
	}
	for i, id := range ids {
		if known, ok := numbers[id]; ok {
			ids[i] = known
		}
	}
	body["hitBreakpointIds"], _ = json.Marshal(ids)
	return m.With("body", body)
}
