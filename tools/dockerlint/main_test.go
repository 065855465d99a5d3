package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestRun(t *testing.T) {
	for _, test := range []struct{ name, dockerfile, want string }{
		{"clean", "FROM debian:trixie-slim AS a\nRUN true\nFROM a\nARG X=1\nENV Y=$X$PATH\nFROM scratch\n", ""},
		{"old form", "FROM debian:trixie-slim\nENV A b\n", `D:2: "ENV key=value" should be used instead of legacy "ENV key value" format (LegacyKeyValueFormat)`},
		{"casing", "FROM debian:trixie-slim as a\n", "D:1: 'as' and 'FROM' keywords' casing do not match (FromAsCasing)"},
		{"undefined variable", "FROM debian:trixie-slim\nENV A=$PATHS\n", "D:2: Usage of undefined variable '$PATHS' (did you mean $PATH?) (UndefinedVar)"},
		{"unknown instruction", "FROM debian:trixie-slim\nRUNS true\n", "D:2: dockerfile parse error on line 2: unknown instruction: RUNS (did you mean RUN?)"},
		{"no version", "FROM registry:5000/debian\n", "D:1: registry:5000/debian names no version (BaseImageVersion)"},
		{"latest", "FROM debian:trixie-slim AS a\nFROM debian:latest\n", "D:2: debian:latest names no version (BaseImageVersion)"},
		{"by digest", "FROM debian@sha256:" + string(bytes.Repeat([]byte("a"), 64)) + "\n", ""},
		{"frontend", "# syntax=docker/dockerfile:1\nFROM debian:trixie-slim\n", "D:1: the frontend docker/dockerfile:1 would have to be pulled: remove the syntax line (Syntax)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := os.WriteFile("D", []byte(test.dockerfile), 0o644); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err := run(t.Context(), []string{"D"}, &out)
			want := test.want
			if want != "" {
				want += "\n"
			}
			if out.String() != want || errors.Is(err, errFindings) != (want != "") || err != nil && !errors.Is(err, errFindings) {
				t.Errorf("got %q, %v\nwant %q", out.String(), err, want)
			}
		})
	}
	if err := run(t.Context(), []string{filepath.Join(t.TempDir(), "absent")}, os.Stdout); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("run of a file that is not there: got %v", err)
	}
}
