package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/roll-deploy/roll/compose"
)

// shelf is a history in memory, the newest record first.
type shelf struct {
	records []compose.Record
	images  []string
	gone    []string // volumes
	refuse  error
}

func (s *shelf) Add(_ context.Context, _, _, image string, number int, content []byte) error {
	if s.refuse != nil {
		return s.refuse
	}
	s.images = append(s.images, image)
	s.records = slices.Insert(s.records, 0, compose.Record{ID: fmt.Sprint("c", number), Number: number, Content: content})
	return nil
}

func (s *shelf) List(context.Context, string, string) ([]compose.Record, error) {
	return slices.Clone(s.records), nil
}

func (s *shelf) Drop(_ context.Context, r compose.Record) error {
	s.records = slices.DeleteFunc(s.records, func(o compose.Record) bool { return o.ID == r.ID })
	return nil
}

func (s *shelf) Discard(_ context.Context, volumes []string) error {
	s.gone = append(s.gone, volumes...)
	return nil
}

func ran(image string) Entry {
	return Entry{
		Volumes: []string{"volume of " + image},
		Was:     Version{ImageID: image, Hash: "h"}, Replicas: 2, Took: time.Second,
		Kept: &compose.Kept{Name: "shop-web-1", ImageID: image, Config: &container.Config{}, Host: &container.HostConfig{}},
	}
}

func numbers(entries []Entry) []int {
	var all []int
	for _, e := range entries {
		all = append(all, e.Number)
	}
	return all
}

func TestTheHistoryKeepsTheLastFiveRollsAndTheirImages(t *testing.T) {
	s := &shelf{records: []compose.Record{{ID: "cut off", Number: 2}, {ID: "nonsense", Number: 1, Content: []byte(`{"kept": {}}`)}}}
	for i := range 7 {
		if err := Record(t.Context(), s, "shop", "web", ran(fmt.Sprint("image", i))); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := Entries(t.Context(), s, "shop", "web")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := numbers(entries), []int{9, 8, 7, 6, 5}; !slices.Equal(got, want) || len(s.records) != 5 {
		t.Errorf("entries %v, want %v; %d records", got, want, len(s.records))
	}
	if want := []string{"volume of image0", "volume of image1"}; !slices.Equal(s.gone, want) {
		t.Errorf("volumes removed: %q, want %q", s.gone, want)
	}
	if e := entries[0]; e.Was.ImageID != "image6" || e.Kept.Name != "shop-web-1" || e.Took != time.Second || !slices.Contains(s.images, "image6") {
		t.Errorf("newest entry %+v, images %v", e, s.images)
	}
}

func TestARollThatCannotBeRecordedDropsNothing(t *testing.T) {
	s := &shelf{}
	for range 5 {
		if err := Record(t.Context(), s, "shop", "web", ran("a")); err != nil {
			t.Fatal(err)
		}
	}
	s.refuse = errors.New("no space left")
	if err := Record(t.Context(), s, "shop", "web", ran("a")); !errors.Is(err, s.refuse) || len(s.records) != 5 {
		t.Errorf("error %v, %d records", err, len(s.records))
	}
}

func TestWhatARollbackGoesBackTo(t *testing.T) {
	history := func(images ...string) []Entry { // newest first
		var entries []Entry
		for i, image := range images {
			e := ran(image)
			e.Number = len(images) - i
			entries = append(entries, e)
		}
		return entries
	}
	runs := func(images ...string) []Version {
		var all []Version
		for _, image := range images {
			all = append(all, Version{ImageID: image, Hash: "h"})
		}
		return all
	}
	for name, test := range map[string]struct {
		entries []Entry
		to      int
		now     []Version
		want    int
		err     string
	}{
		"what ran before the last roll":                 {history("v2", "v1"), 0, runs("v3", "v3"), 2, ""},
		"an older one by its number":                    {history("v2", "v1"), 1, runs("v3"), 1, ""},
		"not what runs already":                         {history("v2", "v1"), 0, runs("v2"), 1, ""},
		"a mixture is brought back to one":              {history("v2", "v1"), 0, runs("v2", "v3"), 2, ""},
		"a service without replicas is brought back":    {history("v2"), 0, nil, 1, ""},
		"the same image with another configuration":     {history("v2"), 0, []Version{{ImageID: "v2", Hash: "other"}}, 1, ""},
		"nothing when nothing was recorded":             {nil, 0, runs("v1"), 0, "nothing is known"},
		"nothing when it runs all that is known of":     {history("v1"), 0, runs("v1"), 0, "runs what it ran before already"},
		"nothing when there is no roll with the number": {history("v2", "v1"), 7, runs("v3"), 0, "has no entry 7; it has [2 1]"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := Back("web", test.entries, test.to, test.now)
			var missing *HistoryError
			if test.err != "" {
				if !errors.As(err, &missing) || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || e.Number != test.want {
				t.Errorf("entry %d, %v; want %d", e.Number, err, test.want)
			}
		})
	}
}
