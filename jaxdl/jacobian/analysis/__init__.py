"""What is found out about a function before its Jacobian is computed: its program, pattern, cuts and costs."""
