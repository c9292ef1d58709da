"""The command line: `barnabas NOUN VERB`. stdout is data, stderr is talk."""
