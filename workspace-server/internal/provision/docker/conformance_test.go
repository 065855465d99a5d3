package docker

import (
	"testing"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/provision/provisiontest"
)

func asEveryDriver(t *testing.T, h *host) {
	// partly does what the beginning of a Start does.
	partly := func(do func(t *testing.T, p *Driver, plan plan)) func(*testing.T, provision.Provisioner, provision.Spec) {
		return func(t *testing.T, p provision.Provisioner, spec provision.Spec) {
			driver := p.(*Driver)
			plan, err := makePlan(driver.settings, spec, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if found, err := driver.find(t.Context(), spec.Workspace); err == nil {
				err = driver.removeContainer(t.Context(), found.ID)
				if err != nil {
					t.Fatal(err)
				}
			} else if !provision.IsAbsent(err) {
				t.Fatal(err)
			}
			do(t, driver, plan)
		}
	}
	provisiontest.Run(t, provisiontest.Harness{
		Install: func(t *testing.T) func() provision.Provisioner {
			first := h.installation(t)
			return func() provision.Provisioner {
				p, err := New(first.settings)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(p.Close)
				return p
			}
		},
		ReadOnlyPlugins: true,
		Partial: map[string]func(*testing.T, provision.Provisioner, provision.Spec){
			"network made": partly(func(t *testing.T, p *Driver, _ plan) {
				if err := p.needNetwork(t.Context()); err != nil {
					t.Fatal(err)
				}
			}),
			"container made": partly(func(t *testing.T, p *Driver, plan plan) {
				if err := p.needNetwork(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := p.create(t.Context(), plan); err != nil {
					t.Fatal(err)
				}
			}),
		},
	})
}
