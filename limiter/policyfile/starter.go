package policyfile

import _ "embed"

//go:embed starter.yaml
var starter []byte

// Starter are the built-in policies that permitd starts with when it is given no file: examples for OpenRouter, OpenAI,
// Anthropic, AWS Bedrock, Azure OpenAI, Gemini, Mistral and Groq. The figures are what these publish for small accounts, to be replaced by one's own.
func Starter() *File {
	f, err := Parse("starter.yaml", starter)
	if err != nil {
		panic(err) // the text is part of the program, and a test parses it
	}
	return f
}
