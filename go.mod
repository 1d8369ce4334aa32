module github.com/vagus-hub/vagus

go 1.26.0
