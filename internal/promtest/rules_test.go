package promtest

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"go.yaml.in/yaml/v3"
)

const folder = "../../deploy/prometheus"

// testFile is what is used of promtool's format.
type testFile struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []struct {
		Name        string         `yaml:"name"`
		Interval    model.Duration `yaml:"interval"`
		InputSeries []struct {
			Series string `yaml:"series"`
			Values string `yaml:"values"`
		} `yaml:"input_series"`
		AlertRuleTest []struct {
			EvalTime  model.Duration `yaml:"eval_time"`
			Alertname string         `yaml:"alertname"`
			ExpAlerts []expected     `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	} `yaml:"tests"`
}

type expected struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

// series is one input series in memory.
type series struct {
	labels  labels.Labels
	samples []chunks.Sample
}

type sample struct {
	t int64
	v float64
}

func (s sample) T() int64                      { return s.t }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.v }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

// memory is a storage of such series.
type memory []series

func (m memory) Querier(int64, int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		set := &found{at: -1}
		for _, s := range m {
			if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.labels.Get(m.Name)) }) {
				set.series = append(set.series, storage.NewListSeries(s.labels, s.samples))
			}
		}
		return set
	}}, nil
}

type found struct {
	series []storage.Series
	at     int
}

func (f *found) Next() bool                        { f.at++; return f.at < len(f.series) }
func (f *found) At() storage.Series                { return f.series[f.at] }
func (f *found) Err() error                        { return nil }
func (f *found) Warnings() annotations.Annotations { return nil }

// alert is one that is pending or fires.
type alert struct {
	since  time.Time
	labels map[string]string
	notes  map[string]string
}

func rulesOf(t *testing.T, p parser.Parser, files []string) map[string]rulefmt.Rule {
	t.Helper()
	rules := map[string]rulefmt.Rule{}
	for _, f := range files {
		groups, errs := rulefmt.ParseFile(filepath.Join(folder, f), false, model.UTF8Validation, p, slog.Default())
		for _, err := range errs {
			t.Fatal(err)
		}
		for _, g := range groups.Groups {
			for _, r := range g.Rules {
				if r.Alert == "" || r.KeepFiringFor != 0 {
					t.Fatalf("%+v: a rule of a kind that is not evaluated here", r)
				}
				rules[r.Alert] = r
			}
		}
	}
	return rules
}

func TestRules(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "tests.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file testFile
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	p := parser.NewParser(parser.Options{})
	rules := rulesOf(t, p, file.RuleFiles)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: p,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Duration(file.EvaluationInterval).Milliseconds() }})
	fired, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		t.Run(test.Name, func(t *testing.T) {
			var store memory
			for _, in := range test.InputSeries {
				l, values, err := p.ParseSeriesDesc(in.Series + " " + in.Values)
				if err != nil {
					t.Fatalf("%s %s: %v", in.Series, in.Values, err)
				}
				s := series{labels: l}
				for i, v := range values {
					if !v.Omitted {
						s.samples = append(s.samples, sample{int64(i) * time.Duration(test.Interval).Milliseconds(), v.Value})
					}
				}
				store = append(store, s)
			}
			for _, want := range test.AlertRuleTest {
				rule, known := rules[want.Alertname]
				if !known {
					t.Fatalf("there is no rule %s", want.Alertname)
				}
				got := firing(t, engine, store, rule, time.Duration(file.EvaluationInterval), time.Duration(want.EvalTime))
				if len(want.ExpAlerts) > 0 {
					fired[want.Alertname] = true
				} else {
					quiet[want.Alertname] = true
				}
				compare(t, fmt.Sprintf("%s at %v", want.Alertname, want.EvalTime), rule, got, want.ExpAlerts)
			}
		})
	}
	for name := range rules {
		if !fired[name] || !quiet[name] {
			t.Errorf("%s: a test that it fires: %v; that it does not: %v", name, fired[name], quiet[name])
		}
	}
}

// firing evaluates a rule at every interval up to a time and returns what fires
// then.
func firing(t *testing.T, engine *promql.Engine, store memory, rule rulefmt.Rule, every, until time.Duration) []alert {
	t.Helper()
	active := map[string]alert{}
	for at := time.Duration(0); at <= until; at += every {
		now := time.UnixMilli(0).Add(at)
		result := ask(t, engine, store, rule.Expr, now)
		next := map[string]alert{}
		for _, s := range result {
			b := labels.NewBuilder(s.Metric).Del(labels.MetricName)
			for k, v := range rule.Labels {
				b.Set(k, expand(t, engine, store, rule.Alert, v, s, now))
			}
			l := b.Labels()
			a, pending := active[l.String()]
			if !pending {
				a.since = now
			}
			if _, twice := next[l.String()]; twice {
				t.Fatalf("%s: two alerts with the labels %v", rule.Alert, l)
			}
			a.labels, a.notes = l.Map(), map[string]string{}
			for k, v := range rule.Annotations {
				a.notes[k] = expand(t, engine, store, rule.Alert, v, s, now)
			}
			next[l.String()] = a
		}
		active = next
	}
	var out []alert
	for _, key := range slices.Sorted(maps.Keys(active)) {
		if a := active[key]; time.UnixMilli(0).Add(until).Sub(a.since) >= time.Duration(rule.For) {
			out = append(out, a)
		}
	}
	return out
}

func ask(t *testing.T, engine *promql.Engine, store memory, expr string, now time.Time) promql.Vector {
	t.Helper()
	q, err := engine.NewInstantQuery(context.Background(), store, nil, expr, now)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer q.Close()
	v, err := q.Exec(context.Background()).Vector()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return slices.Clone(v)
}

// expand fills in a template as Prometheus does for alerts.
func expand(t *testing.T, engine *promql.Engine, store memory, name, text string, s promql.Sample, now time.Time) string {
	t.Helper()
	data := template.AlertTemplateData(s.Metric.Map(), nil, "", s)
	e := template.NewTemplateExpander(context.Background(), "{{$labels := .Labels}}{{$value := .Value}}"+text, "__alert_"+name, data, model.TimeFromUnixNano(now.UnixNano()),
		func(_ context.Context, q string, now time.Time) (promql.Vector, error) {
			return ask(t, engine, store, q, now), nil
		}, &url.URL{}, nil)
	out, err := e.Expand()
	if err != nil {
		t.Fatalf("%s: %q: %v", name, text, err)
	}
	return out
}

// compare wants exactly the expected alerts. Labels that the rule itself adds
// need not be repeated; of annotations those count that are expected.
func compare(t *testing.T, where string, rule rulefmt.Rule, got []alert, want []expected) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d alerts fire, want %d: %+v", where, len(got), len(want), got)
		return
	}
	for _, w := range want {
		full := maps.Clone(rule.Labels)
		maps.Copy(full, w.Labels)
		i := slices.IndexFunc(got, func(a alert) bool { return maps.Equal(a.labels, full) })
		if i < 0 {
			t.Errorf("%s: none has the labels %v: %+v", where, full, got)
			continue
		}
		for k, v := range w.Annotations {
			if got[i].notes[k] != v {
				t.Errorf("%s: %s is %q, want %q", where, k, got[i].notes[k], v)
			}
		}
	}
}
