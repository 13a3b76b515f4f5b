from jaxdl.cli import main

main()
