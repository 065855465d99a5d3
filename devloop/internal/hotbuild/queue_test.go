package hotbuild

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestInOrder(t *testing.T) {
	tests := []struct {
		name    string
		deps    [][]int
		workers int
		order   []int         // if it can be told
		took    time.Duration // each piece takes a second
	}{
		{"nothing", nil, 2, nil, 0},
		{"one", [][]int{{}}, 2, []int{0}, time.Second},
		{"a chain", [][]int{{}, {0}, {1}, {2}}, 4, []int{0, 1, 2, 3}, 4 * time.Second},
		{"side by side", [][]int{{}, {}, {}, {}}, 4, nil, time.Second},
		{"side by side on half", [][]int{{}, {}, {}, {}}, 2, nil, 2 * time.Second},
		{"the long way first", [][]int{{}, {}, {}, {2}, {3}, {0, 1, 4}}, 1, []int{2, 3, 0, 1, 4, 5}, 6 * time.Second},
		{"no waves", [][]int{{}, {0}, {}, {2}, {3}, {1, 4}}, 2, nil, 4 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var order []int
				began := time.Now()
				err := inOrder(t.Context(), tt.deps, tt.workers, func(_ context.Context, i int) error {
					time.Sleep(time.Second)
					mu.Lock()
					defer mu.Unlock()
					for _, d := range tt.deps[i] {
						if !slices.Contains(order, d) {
							t.Errorf("%d begins before %d is done", i, d)
						}
					}
					order = append(order, i)
					return nil
				})
				if took := time.Since(began); err != nil || took != tt.took || len(order) != len(tt.deps) {
					t.Errorf("inOrder() = %v with %v done after %v, want all after %v", err, order, took, tt.took)
				}
				if tt.order != nil && !slices.Equal(order, tt.order) {
					t.Errorf("inOrder() did %v, want %v", order, tt.order)
				}
			})
		})
	}
}

func TestInOrderFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := errors.New("wrong")
		var done []string
		err := inOrder(t.Context(), [][]int{{}, {0}, {0}, {1, 2}}, 1, func(_ context.Context, i int) error {
			done = append(done, string(rune('a'+i)))
			if i > 0 {
				return wrong
			}
			return nil
		})
		if !errors.Is(err, wrong) || strings.Join(done, "") != "ab" {
			t.Errorf("inOrder() = %v after %q, want %v after a and b", err, done, wrong)
		}
	})
}

func TestInOrderCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("no longer wanted")
		began := 0
		err := inOrder(ctx, [][]int{{}, {}, {0, 1}}, 1, func(ctx context.Context, _ int) error {
			began++
			cancel(why)
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if !errors.Is(err, why) || began != 1 {
			t.Errorf("inOrder() = %v after %d pieces, want %v after 1", err, began, why)
		}
	})
}
