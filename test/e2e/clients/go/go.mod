module sidegate.dev/e2e/clients

go 1.24
