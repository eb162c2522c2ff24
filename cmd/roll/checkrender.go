package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/roll-deploy/roll/internal/check"
)

// findingLine is one finding; its JSON is a contract (docs/check.md).
type findingLine struct {
	ID         check.ID         `json:"id"`
	Level      string           `json:"level"` // ok, note, warn, error
	Confidence check.Confidence `json:"confidence"`
	Service    string           `json:"service,omitempty"`
	Replicas   []string         `json:"replicas"` // empty: the service as declared
	Text       string           `json:"text"`
	Proof      string           `json:"proof,omitempty"`
	File       string           `json:"file,omitempty"`
	Line       int              `json:"line,omitempty"`
	Fix        string           `json:"fix,omitempty"`
}

func lineOf(f check.Finding) findingLine {
	l := findingLine{ID: f.ID, Level: f.Level.String(), Confidence: f.Confidence, Service: f.Service, Replicas: f.Replicas, Text: f.Text, Proof: f.Proof, Fix: f.Fix}
	if l.Replicas == nil {
		l.Replicas = []string{}
	}
	l.File, l.Line = splitPlace(f.Where)
	return l
}

// printFindings writes them in one of the formats of --format.
func printFindings(w io.Writer, format string, found []check.Finding) error {
	switch format {
	case "json":
		lines := []findingLine{}
		for _, f := range found {
			lines = append(lines, lineOf(f))
		}
		return json.NewEncoder(w).Encode(lines)
	case "sarif":
		return printSARIF(w, found)
	case "github":
		return printAnnotations(w, found)
	}
	return printReport(w, found)
}

// mostNamed is how many replicas of one finding are named.
const mostNamed = 6

// printReport is for people: a headline a finding, and below it what happens,
// what proves it and what to write instead.
func printReport(w io.Writer, found []check.Finding) error {
	var b strings.Builder
	count := map[check.Level]int{}
	for _, f := range found {
		count[f.Level]++
		who := f.Service
		if names := f.Replicas; len(names) > 0 {
			if more := len(names) - mostNamed; more > 0 {
				names = append(slices.Clone(names[:mostNamed]), fmt.Sprintf("%d more", more))
			}
			who = joined(": ", who, strings.Join(names, ", "))
		}
		fmt.Fprintf(&b, "%-5s  %s\n", f.Level, joined("  ", string(f.ID), who, "("+string(f.Confidence)+")", f.Where))
		for _, part := range []struct{ label, text string }{{"", f.Text}, {"seen: ", f.Proof}, {"fix:  ", f.Fix}} {
			if part.text == "" || f.Level == check.Fine && part.label != "" {
				continue
			}
			fmt.Fprintf(&b, "       %s%s\n", part.label, part.text)
		}
	}
	fmt.Fprintf(&b, "%d errors, %d warnings, %d notes, %d ok\n", count[check.Error], count[check.Warn], count[check.Note], count[check.Fine])
	_, err := io.WriteString(w, b.String())
	return err
}

// printAnnotations writes workflow commands of GitHub Actions. What is fine is
// left out.
func printAnnotations(w io.Writer, found []check.Finding) error {
	names := map[check.Level]string{check.Error: "error", check.Warn: "warning", check.Note: "notice"}
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range found {
		if f.Level == check.Fine {
			continue
		}
		l := lineOf(f)
		at := ""
		if l.File != "" && l.File != "stdin" {
			at = fmt.Sprintf("file=%s,line=%d,", property.Replace(l.File), max(l.Line, 1))
		}
		text := joined("\n", l.Text, prefixed("seen: ", l.Proof), prefixed("fix: ", l.Fix))
		if _, err := fmt.Fprintf(w, "::%s %stitle=%s::%s\n", names[f.Level], at, property.Replace(joined(" ", string(l.ID), l.Service)), data.Replace(text)); err != nil {
			return err
		}
	}
	return nil
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// The part of SARIF 2.1.0 that is used.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID string `json:"id"`
	}
	sarifResult struct {
		RuleID     string            `json:"ruleId"`
		Level      string            `json:"level"`
		Message    sarifText         `json:"message"`
		Locations  []sarifLocation   `json:"locations,omitempty"`
		Properties map[string]string `json:"properties"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
)

func printSARIF(w io.Writer, found []check.Finding) error {
	names := map[check.Level]string{check.Error: "error", check.Warn: "warning", check.Note: "note", check.Fine: "none"}
	run := sarifRun{Tool: sarifTool{sarifDriver{"roll check", version(), "https://github.com/roll-deploy/roll", []sarifRule{}}}, Results: []sarifResult{}}
	for _, f := range found {
		l := lineOf(f)
		if rule := (sarifRule{string(f.ID)}); !slices.Contains(run.Tool.Driver.Rules, rule) {
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
		}
		result := sarifResult{
			RuleID: string(f.ID), Level: names[f.Level], Message: sarifText{joined("\n", l.Text, prefixed("seen: ", l.Proof), prefixed("fix: ", l.Fix))},
			Properties: map[string]string{"confidence": string(f.Confidence), "service": l.Service, "replicas": strings.Join(l.Replicas, ", ")},
		}
		if l.File != "" && l.File != "stdin" {
			result.Locations = []sarifLocation{{sarifPhysical{sarifArtifact{l.File}, sarifRegion{max(l.Line, 1)}}}}
		}
		run.Results = append(run.Results, result)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}
