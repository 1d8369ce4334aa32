module github.com/vagus-hub/vagus/schemas

go 1.26.0
