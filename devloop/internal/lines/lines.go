// Package lines follows the lines of a text into a later version of it.
package lines

import (
	"slices"
	"sort"
	"strings"
)

// A Map tells where the lines of a text are in a later version of it.
type Map struct {
	to []int // by the line's index: the index afterwards, or -1
}

// Between compares two versions of a text.
func Between(before, after string) Map {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	m := Map{to: make([]int, len(a))}
	for i := range m.to {
		m.to[i] = -1
	}
	m.match(a, b, 0, len(a), 0, len(b))
	return m
}

// Line returns where a line is now, counted from 1. It is not ok if it was removed.
// A line that was never there is where it was.
func (m Map) Line(n int) (line int, ok bool) {
	if n < 1 || n > len(m.to) {
		return n, true
	}
	return m.to[n-1] + 1, m.to[n-1] >= 0
}

// match matches a[i:j] with b[k:l]: first what is the same at either end, then the
// lines that are there once in both and in the same order, and what is between them
// again. Of what is left, each line that others replace becomes one of them.
func (m Map) match(a, b []string, i, j, k, l int) {
	for i < j && k < l && a[i] == b[k] {
		m.to[i] = k
		i, k = i+1, k+1
	}
	for i < j && k < l && a[j-1] == b[l-1] {
		j, l = j-1, l-1
		m.to[j] = l
	}
	if i == j || k == l {
		return // only added, or only removed
	}
	anchors := common(a[i:j], b[k:l])
	if len(anchors) == 0 {
		for n := i; n < j; n++ {
			m.to[n] = min(k+n-i, l-1)
		}
		return
	}
	from, to := i, k
	for _, p := range append(anchors, pair{j - i, l - k}) {
		m.match(a, b, from, i+p.a, to, k+p.b)
		from, to = i+p.a, k+p.b // the next call begins with the anchor
	}
}

// A pair is a line of both versions.
type pair struct{ a, b int }

// common returns the longest list of lines that are there once in both versions,
// in an order that both have.
func common(a, b []string) []pair {
	type seen struct{ a, b, inA, inB int }
	all := map[string]*seen{}
	for n, line := range a {
		s := all[line]
		if s == nil {
			s = &seen{}
			all[line] = s
		}
		s.a, s.inA = n, s.inA+1
	}
	for n, line := range b {
		if s := all[line]; s != nil {
			s.b, s.inB = n, s.inB+1
		}
	}
	var unique []pair
	for n, line := range a {
		if s := all[line]; s.inA == 1 && s.inB == 1 && s.a == n {
			unique = append(unique, pair{n, s.b})
		}
	}
	return longest(unique)
}

// longest returns the longest part of a list, ordered by a, that is ordered by b.
func longest(list []pair) []pair {
	var ends []int // by length: the pair with the smallest b that ends such a part
	previous := make([]int, len(list))
	for n, p := range list {
		at := sort.Search(len(ends), func(i int) bool { return list[ends[i]].b >= p.b })
		previous[n] = -1
		if at > 0 {
			previous[n] = ends[at-1]
		}
		if at == len(ends) {
			ends = append(ends, n)
		} else {
			ends[at] = n
		}
	}
	if len(ends) == 0 {
		return nil
	}
	var part []pair
	for n := ends[len(ends)-1]; n >= 0; n = previous[n] {
		part = append(part, list[n])
	}
	slices.Reverse(part)
	return part
}
