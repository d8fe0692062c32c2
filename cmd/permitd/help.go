package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// helpFor prints, where args name a command, that command; otherwise everything that can be set, on one page.
func helpFor(args []string) kong.HelpPrinter {
	return func(options kong.HelpOptions, ctx *kong.Context) error {
		named := slices.ContainsFunc(ctx.Model.Children, func(n *kong.Node) bool { return slices.Contains(args, n.Name) })
		if named {
			return kong.DefaultHelpPrinter(options, ctx)
		}
		_, err := fmt.Fprint(ctx.Stdout, wholeHelp(ctx.Model))
		return err
	}
}

func wholeHelp(app *kong.Application) string {
	var b strings.Builder
	for text := range wrapped(app.Help, 98) {
		fmt.Fprintf(&b, "%s\n", text)
	}
	b.WriteString("\nUsage:\n  permitd [serve] [flags]\n  permitd <command> [flags]\n\nCommands:\n")
	for _, command := range app.Children {
		name := command.Name
		for _, arg := range command.Positional {
			shown := strings.ToUpper(arg.Name)
			if !arg.Required {
				shown = "[" + shown + " ...]"
			}
			name += " " + shown
		}
		fmt.Fprintf(&b, "  %-17s %s\n", name, command.Help)
	}
	for _, command := range app.Children {
		if len(command.Flags) > 0 {
			fmt.Fprintf(&b, "\nFlags of %s:\n", command.Name)
			writeFlags(&b, command.Flags)
		}
	}
	b.WriteString("\nFlags of every command:\n")
	writeFlags(&b, app.Flags)
	b.WriteString("\nA flag wins over the environment. A bad value ends permitd with exit code 2 and one line that names it.\n")
	return b.String()
}

func writeFlags(b *strings.Builder, flags []*kong.Flag) {
	for _, f := range flags {
		line := "  --" + f.Name
		if !f.IsBool() {
			line += " " + f.PlaceHolder
		}
		if len(f.Envs) > 0 {
			line = fmt.Sprintf("%-28s %-20s default: %s", line, strings.Join(f.Envs, ", "), cmp.Or(f.Default, "none"))
		}
		fmt.Fprintf(b, "%s\n", line)
		for text := range wrapped(f.Help, 90) {
			fmt.Fprintf(b, "        %s\n", text)
		}
	}
}

// wrapped are the lines of a text, broken at spaces so that none is longer than width.
func wrapped(text string, width int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		line := ""
		for word := range strings.FieldsSeq(text) {
			if line != "" && len(line)+1+len(word) > width {
				if !yield(line) {
					return
				}
				line = ""
			}
			line = strings.TrimPrefix(line+" "+word, " ")
		}
		yield(line)
	}
}
