#!/bin/sh
# Tool:      k8s.io/client-go v0.37.0 (kubernetes/fake, NewClientset).
# Behaviour: the fake stores a Create that asks for a dry run. It accepts an Update whose
#            resourceVersion is stale, deletes in spite of a failed precondition and
#            in spite of a finalizer, and calls every generateName object "" (the second
#            one "already exists"). A List by field selector returns everything.
# Surprise:  NewClientset replaced NewSimpleClientset to be nearer to a real server. A
#            controller's conflict, dry-run and finalizer paths pass here and were never
#            run; a loop that retries on conflict is never entered.
# Do:        add reactors (PrependReactor) for the answers that the code depends on, or
#            test those paths against a real API server (envtest).
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOWORK=off

go mod init probe 2>go.log
cat >main.go <<'EOF'
package main

import (
	"context"
	"fmt"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func configMap(m meta.ObjectMeta) *core.ConfigMap { return &core.ConfigMap{ObjectMeta: m} }

func main() {
	ctx := context.Background()
	maps := fake.NewClientset().CoreV1().ConfigMaps("default")

	_, err := maps.Create(ctx, configMap(meta.ObjectMeta{Name: "dry"}), meta.CreateOptions{DryRun: []string{meta.DryRunAll}})
	_, got := maps.Get(ctx, "dry", meta.GetOptions{})
	fmt.Println("get after a dry-run create:", err, got)

	held := configMap(meta.ObjectMeta{Name: "held", ResourceVersion: "7", Finalizers: []string{"example.org/hold"}})
	_, err = maps.Create(ctx, held, meta.CreateOptions{})
	stale := held.DeepCopy()
	stale.ResourceVersion = "3"
	_, updated := maps.Update(ctx, stale, meta.UpdateOptions{})
	fmt.Println("stale update:", err, updated)

	list, err := maps.List(ctx, meta.ListOptions{FieldSelector: "metadata.name=absent"})
	fmt.Println("list by the name absent:", len(list.Items), err)

	wrong := "999"
	err = maps.Delete(ctx, "held", meta.DeleteOptions{Preconditions: &meta.Preconditions{ResourceVersion: &wrong}})
	_, got = maps.Get(ctx, "held", meta.GetOptions{})
	fmt.Println("delete against precondition and finalizer:", err, "then get:", got)

	for range 2 {
		made, err := maps.Create(ctx, configMap(meta.ObjectMeta{GenerateName: "job-"}), meta.CreateOptions{})
		fmt.Printf("generateName: %q %v\n", made.GetName(), err)
	}
}
EOF
go get k8s.io/client-go/kubernetes/fake@v0.37.0 k8s.io/api/core/v1@v0.37.0 2>>go.log || { cat go.log; exit 1; }
go run . | tee out.txt

for line in 'get after a dry-run create: <nil> <nil>' 'stale update: <nil> <nil>' 'list by the name absent: 2 <nil>' \
	'delete against precondition and finalizer: <nil> then get: configmaps "held" not found' \
	'generateName: "" <nil>' 'generateName: "" configmaps "" already exists'; do
	if ! grep -Fqx "$line" out.txt; then
		echo "Expected the line \"$line\": the behaviour changed." >&2
		exit 1
	fi
done
