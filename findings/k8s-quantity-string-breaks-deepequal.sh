#!/bin/sh
# Tool:      k8s.io/apimachinery v0.37.0 (resource.Quantity).
# Behaviour: String(), and so a log line or a marshalling, changes the Quantity: it caches
#            the text. Two equal quantities then differ under reflect.DeepEqual and ==.
#            1536Mi and 1.5Gi differ under == as well, though Cmp says 0.
# Surprise:  printing a value must not change it. A controller that compares specs with
#            DeepEqual sees a change because someone logged one of them.
# Do:        compare with Quantity.Equal or Cmp, and structs that hold quantities with
#            equality.Semantic.DeepEqual of apimachinery.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOWORK=off

go mod init probe 2>go.log
cat >main.go <<'EOF'
package main

import (
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
)

func sum() resource.Quantity {
	q := resource.MustParse("500m")
	q.Add(resource.MustParse("500m"))
	return q
}

func main() {
	a, b := sum(), sum()
	fmt.Println("before printing: DeepEqual", reflect.DeepEqual(a, b), "==", a == b)
	fmt.Println("printed:", a.String())
	fmt.Println("after printing: DeepEqual", reflect.DeepEqual(a, b), "==", a == b)
	fmt.Println("after printing: Equal", a.Equal(b), "Semantic.DeepEqual", equality.Semantic.DeepEqual(a, b))
	c, d := resource.MustParse("1536Mi"), resource.MustParse("1.5Gi")
	fmt.Println("1536Mi and 1.5Gi: ==", c == d, "Cmp", c.Cmp(d))
}
EOF
go get k8s.io/apimachinery/pkg/api/resource@v0.37.0 k8s.io/apimachinery/pkg/api/equality@v0.37.0 2>>go.log || { cat go.log; exit 1; }
go run . | tee out.txt

for line in 'before printing: DeepEqual true == true' 'after printing: DeepEqual false == false' \
	'after printing: Equal true Semantic.DeepEqual true' '1536Mi and 1.5Gi: == false Cmp 0'; do
	if ! grep -Fqx "$line" out.txt; then
		echo "Expected the line \"$line\": the behaviour changed." >&2
		exit 1
	fi
done
