// Dockerlint checks Dockerfiles by the rules of BuildKit, as "docker build
// --check" does, which not every engine has, and by two of this repository's
// own. It needs neither an engine nor a network.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, errFindings) {
			fmt.Fprintln(os.Stderr, "dockerlint:", err)
		}
		os.Exit(1)
	}
}

// errFindings means that what was found has been printed.
var errFindings = errors.New("findings")

func run(ctx context.Context, files []string, out io.Writer) error {
	if len(files) == 0 {
		return errors.New("no Dockerfile given")
	}
	found := false
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		findings, err := lint(ctx, file, data)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, f := range findings {
			found = true
			fmt.Fprintln(out, f)
		}
	}
	if found {
		return errFindings
	}
	return nil
}

// lint returns what is wrong with a Dockerfile, one line each, in the form
// file:line: text (rule).
func lint(ctx context.Context, file string, data []byte) ([]string, error) {
	source := llb.NewSourceMap(nil, file, "Dockerfile", data)
	source.Definition = &llb.Definition{}
	results, err := dockerfile2llb.DockerfileLint(ctx, data, dockerfile2llb.ConvertOpt{SourceMap: source, MetaResolver: anyImage{}})
	if err != nil {
		return nil, err
	}
	var findings []string
	if e := results.Error; e != nil {
		return []string{fmt.Sprintf("%s:%d: %s", file, firstLine(e.Location.Ranges), e.Message)}, nil
	}
	for _, w := range results.Warnings {
		findings = append(findings, fmt.Sprintf("%s:%d: %s (%s)", file, firstLine(w.Location.GetRanges()), w.Detail, w.RuleName))
	}
	own, err := houseRules(file, data)
	return append(findings, own...), err
}

// houseRules finds what has a build depend on the day or on the network: a
// frontend that would have to be pulled, and base images without a version.
func houseRules(file string, data []byte) ([]string, error) {
	var findings []string
	if frontend, _, at, ok := parser.DetectSyntax(data); ok {
		findings = append(findings, fmt.Sprintf("%s:%d: the frontend %s would have to be pulled: remove the syntax line (Syntax)", file, at[0].Start.Line, frontend))
	}
	dockerfile, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	stages := map[string]bool{"scratch": true}
	for _, node := range dockerfile.AST.Children {
		if !strings.EqualFold(node.Value, "FROM") || node.Next == nil {
			continue
		}
		image := node.Next.Value
		_, version, _ := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
		if !stages[image] && (version == "" || version == "latest") {
			findings = append(findings, fmt.Sprintf("%s:%d: %s names no version (BaseImageVersion)", file, node.StartLine, image))
		}
		if as := node.Next.Next; as != nil && as.Next != nil {
			stages[as.Next.Value] = true
		}
	}
	return findings, nil
}

func firstLine(ranges []*pb.Range) int32 {
	if len(ranges) == 0 {
		return 1
	}
	return ranges[0].Start.Line
}

// anyImage stands for every base image: the rules about variables need to know
// what its environment has, and PATH is what images have in common.
type anyImage struct{}

func (anyImage) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	var image ocispecs.Image
	image.OS, image.Architecture = "linux", "amd64"
	image.Config.Env = []string{"PATH=/usr/bin"}
	config, err := json.Marshal(image)
	return ref, digest.FromBytes(config), config, err
}
