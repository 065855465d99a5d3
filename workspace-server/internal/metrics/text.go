// Package metrics counts requests and writes numbers in version 0.0.4 of Prometheus's
// text format.
package metrics

import (
	"math"
	"strconv"
	"strings"
)

// ContentType is the content type of a Text.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Kind is a type of metric.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Label tells the numbers of a metric apart.
type Label struct{ Name, Value string }

// Text is a page of metrics. The zero value is an empty one.
type Text struct{ b strings.Builder }

// Metric begins a metric. Its numbers follow.
func (t *Text) Metric(name string, kind Kind, help string) {
	t.write("# HELP ", name, " ", strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(help), "\n")
	t.write("# TYPE ", name, " ", string(kind), "\n")
}

// Number writes a number of a metric. In a histogram its name begins with the
// metric's.
func (t *Text) Number(name string, value float64, labels ...Label) {
	t.b.WriteString(name)
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	for i, l := range labels {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		t.write(separator, l.Name, `="`, escape.Replace(strings.ToValidUTF8(l.Value, "\uFFFD")), `"`)
	}
	if len(labels) > 0 {
		t.b.WriteString("}")
	}
	t.write(" ", number(value), "\n")
}

func (t *Text) write(parts ...string) {
	for _, part := range parts {
		t.b.WriteString(part)
	}
}

// Single writes a metric of one number.
func (t *Text) Single(name string, kind Kind, help string, value float64) {
	t.Metric(name, kind, help)
	t.Number(name, value)
}

// String returns the page.
func (t *Text) String() string { return t.b.String() }

func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
