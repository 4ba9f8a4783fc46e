package deploytest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// The alert rules speak of metrics that there are. When they fire is tested by
// internal/promtest, a module of its own ('make rules').
func TestRuleMetrics(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/prometheus/ctappliance.rules.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	reference := read(t, "docs/metrics.md")
	var names []string
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if slices.Contains(names, r.Alert) || r.Alert == "" {
				t.Errorf("alert %q", r.Alert)
			}
			names = append(names, r.Alert)
			if s := r.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s: severity %q", r.Alert, s)
			}
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s says nothing to who is woken", r.Alert)
			}
			for _, m := range regexp.MustCompile(`ctappliance_[a-z_]+`).FindAllString(r.Expr+strings.Join([]string{r.Annotations["summary"], r.Annotations["description"]}, " "), -1) {
				if !strings.Contains(reference, "| `"+m+"` |") {
					t.Errorf("%s: there is no metric %s", r.Alert, m)
				}
			}
		}
	}
	if len(names) < 15 {
		t.Errorf("%d alerts", len(names))
	}
	tests := read(t, "deploy/prometheus/tests.yml")
	for _, m := range regexp.MustCompile(`ctappliance_[a-z_]+`).FindAllString(tests, -1) {
		if !strings.Contains(reference, "| `"+m+"` |") {
			t.Errorf("tests.yml: there is no metric %s", m)
		}
	}
}

// The configuration that scrapes the appliance goes with the rules and with
// the address that the appliance listens on.
func TestScrapeConfig(t *testing.T) {
	var c struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string                       `yaml:"job_name"`
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/prometheus/prometheus.yml")), &c); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.RuleFiles, []string{"ctappliance.rules.yml"}) || len(c.ScrapeConfigs) != 1 || len(c.ScrapeConfigs[0].StaticConfigs) != 1 {
		t.Fatalf("%+v", c)
	}
	job := c.ScrapeConfigs[0]
	if !strings.Contains(read(t, "deploy/prometheus/ctappliance.rules.yml"), `up{job="`+job.JobName+`"}`) {
		t.Errorf("no rule looks at the job %s", job.JobName)
	}
	for _, target := range job.StaticConfigs[0].Targets {
		if !strings.Contains(read(t, "docs/config.md"), "`"+target+"`") {
			t.Errorf("the appliance does not listen on %s", target)
		}
	}
}
